"""Workers that a program starts by itself, on any Python: one process each, which stays until `shutdown`."""

from __future__ import annotations

import atexit
import collections
import contextlib
import importlib
import json
import os
import pathlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from . import named, output, spawning
from ._package import part
from .errors import WorkerError

_CHUNK = 1 << 18
#: As in the reference library.
TIMEOUT = 600.0
#: A worker is told to end, and ended after so many seconds.
_STOP = 2.0
_LINES = 200


class Worker:
    """What every worker can do. Also a context manager that ends it."""

    def __init__(
        self,
        python: str | os.PathLike[str],
        working_dir: str | os.PathLike[str] | None = None,
        sys_path: list[str] | None = None,
        env: dict[str, str] | None = None,
        name: str | None = None,
    ) -> None:
        self.python = pathlib.Path(python)
        if not self.python.exists():
            raise FileNotFoundError(f"There is no Python at {self.python}.")
        self.working_dir = pathlib.Path(working_dir) if working_dir else pathlib.Path.cwd()
        self.sys_path, self.extra_env = [str(folder) for folder in sys_path or []], env or {}
        self.name = name or f"{type(self).__name__}({self.python.parent.parent.name})"
        self._lock = threading.RLock()
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False
        self._numbers = 0
        self._listeners: list[threading.Thread] = []
        self._pool, self._mapped = part("wire.segments").SegmentPool(), part("wire.mapping").MappedSegments()

    def call(self, func: Callable[..., Any], /, *args: Any, timeout: float | None = None, **kwargs: Any) -> Any:
        """Run what an importable module has under a name: a function, a class, a method. Raises WorkerError for anything else: nothing
        is pickled."""
        found = named.place_of(func, args, kwargs)
        if found is None:
            name = getattr(func, "__qualname__", None) or repr(func)
            raise WorkerError(f"{self.name} runs functions of modules, and {name} is none.", "Move it into a module of its own.")
        return self._ask(found.module, None, found.name, None, found.args, found.kwargs, timeout)

    def call_module(self, module: str, func: str, /, timeout: float | None = None, **kwargs: Any) -> Any:
        """Run `module.func(**kwargs)` in the worker. Raises WorkerError, or TimeoutError, which ends the worker."""
        return self._ask(module, None, func, None, (), kwargs, timeout)

    def call_method(
        self,
        module_name: str,
        class_name: str,
        method_name: str,
        self_state: dict[str, Any] | None = None,
        kwargs: dict[str, Any] | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Run a method of a class, on an instance with the attributes `self_state` (None: as its `__init__` makes it)."""
        return self._ask(module_name, class_name, method_name, self_state, (), kwargs or {}, timeout)

    def is_alive(self) -> bool:
        """Whether it can be called: its process is started at the first call."""
        return not self._closed and (self._process is None or self._process.poll() is None)

    def shutdown(self) -> None:
        """End the process. It cannot be called again."""
        self._closed = True
        with self._lock:
            self._stop()
            self._pool.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *error: Any) -> None:
        self.shutdown()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} on {self.python}>"

    def _ask(
        self, module: str, cls: str | None, name: str, state: Any, args: tuple[Any, ...], kwargs: dict[str, Any], timeout: float | None
    ) -> Any:
        if self._closed:
            raise RuntimeError(f"{self.name} has been shut down.")
        with self._lock:
            process = self._started()
            encoder = part("wire.encoder").Encoder(self._pool, mapped=self._mapped)
            given = encoder.encode([list(args), kwargs], f"the arguments of {name}")
            function = {"module": module, "name": name, "class": cls, "state": encoder.encode(state, "self"), "path": self._path()}
            function["inference"] = part("wire.tensors").is_inference_mode()
            self._numbers += 1
            header: dict[str, Any] = {"id": self._numbers, "function": function}
            released = self._mapped.let_go()
            if released:
                header["released"] = released
            try:
                answer, body = self._exchange(process, header, json.dumps(given).encode(), timeout or TIMEOUT)
            except BaseException:
                self._stop()  # half an exchange: nothing that comes after it could be trusted
                for lease in encoder.leases:
                    self._pool.release(lease)
                raise
            for lease in answer.get("released", ()):
                self._pool.release(lease)
            if "error" in answer:
                error = answer["error"]
                raise WorkerError(error["message"], (error.get("exception") or {}).get("traceback"))
            return part("wire.decoder").Decoder(self._mapped, self._no_handle, encoder.kept).decode(json.loads(body))

    def _no_handle(self, tag: dict[str, Any]) -> Any:
        raise WorkerError(f"{self.name} returned a {tag['type']}, which cannot leave its process.", "Return data instead.")

    def _path(self) -> list[str]:
        return [str(self.working_dir), *self.sys_path]

    def _exchange(
        self, process: subprocess.Popen[bytes], header: dict[str, Any], body: bytes, timeout: float
    ) -> tuple[dict[str, Any], bytes]:
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(part("wire.frames").pack(header, body))
            process.stdin.flush()
        except OSError as error:
            raise self._died(process) from error
        until, reader = time.monotonic() + timeout, part("wire.frames").FrameReader()
        answers = self._chunks
        while True:
            left = until - time.monotonic()
            try:
                data = answers.get(timeout=max(0.0, left))
            except Exception:
                process.kill()
                raise TimeoutError(f"{self.name} did not answer within {timeout:g} s and was ended.") from None
            if not data:
                raise self._died(process)
            for frame in reader.feed(data):
                return frame

    def _died(self, process: subprocess.Popen[bytes]) -> WorkerError:
        code = process.wait()
        how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return WorkerError(f"The process of {self.name} {how}.", "\n".join(self._said))

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._stop()
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
        environment["ENVMANAGER_PARENT"] = str(os.getpid())
        worker = pathlib.Path(__file__).resolve().parent.parent / "worker"
        process = spawning.start(
            [str(self.python), "-X", "faulthandler", str(worker), "--alone"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=str(self.working_dir),
            env={**environment, **spawning.ENVIRONMENT, **self.extra_env},
        )
        queue = importlib.import_module("queue")
        self._chunks, self._said = queue.SimpleQueue(), collections.deque(maxlen=_LINES)
        listeners = ((_pump, (process.stdout, self._chunks)), (output.listen, (process.stderr, self._said, self.name)))
        self._listeners = [threading.Thread(target=work, args=given, name=self.name, daemon=True) for work, given in listeners]
        for thread in self._listeners:
            thread.start()
        self._process = process
        hello = {"protocol": part("wire").PROTOCOL_VERSION, "worker": "alone#1", "folders": None, "socket": None, "calls": None}
        self._exchange(process, {"id": 0, "hello": hello}, b"", 60.0)
        return process

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        try:
            if process.stdin is not None:
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.close()
            process.wait(_STOP)
        except (OSError, subprocess.TimeoutExpired):
            process.kill()
            process.wait()
        for thread in self._listeners:
            thread.join(_STOP)


def _pump(stream: Any, chunks: Any) -> None:
    with stream:
        while data := os.read(stream.fileno(), _CHUNK):
            chunks.put(data)
    chunks.put(b"")


class TorchMPWorker(Worker):
    """A worker on this very Python: the process is separate, the packages are the same."""

    def __init__(self, name: str | None = None, **options: Any) -> None:
        super().__init__(sys.executable, name=name or "TorchMPWorker", sys_path=[folder for folder in sys.path if folder], **options)


class VenvWorker(Worker):
    """A worker on another Python. `persistent` is accepted for the reference library's sake: every worker is."""

    def __init__(self, python: str | os.PathLike[str], *args: Any, persistent: bool = True, **options: Any) -> None:
        super().__init__(python, *args, **options)


#: The reference library's name for a VenvWorker that stays.
PersistentVenvWorker = VenvWorker


class WorkerPool:
    """Workers by name, one pool for the process; a factory is asked at first need, and again when its worker has been shut down."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._workers: dict[str, Worker] = {}
        self._factories: dict[str, Callable[[], Worker]] = {}

    def register(self, name: str, worker: Worker | None = None, factory: Callable[[], Worker] | None = None) -> None:
        """Give either a worker or a factory; one that had the name is shut down."""
        if (worker is None) == (factory is None):
            raise ValueError("Give either a worker or a factory.")
        with self._lock:
            old = self._workers.pop(name, None)
            self._factories.pop(name, None)
            if worker is not None:
                self._workers[name] = worker
            elif factory is not None:
                self._factories[name] = factory
        if old is not None and old is not worker:
            old.shutdown()

    def get(self, name: str) -> Worker:
        """Raises KeyError for an unknown name, RuntimeError for a worker that was shut down and has no factory."""
        with self._lock:
            worker = self._workers.get(name)
            if worker is not None and not worker._closed:
                return worker
            if name in self._factories:
                self._workers[name] = self._factories[name]()
                return self._workers[name]
        if worker is not None:
            raise RuntimeError(f"The worker {name!r} has been shut down, and there is no factory for another.")
        raise KeyError(f"There is no worker {name!r}.")

    def shutdown(self, name: str | None = None) -> None:
        """End one worker, or all."""
        with self._lock:
            names = list(self._workers) if name is None else [name]
            ending = [worker for worker in (self._workers.pop(known, None) for known in names) if worker is not None]
        for worker in ending:
            worker.shutdown()

    def list_workers(self) -> dict[str, str]:
        """Name → kind and state."""
        with self._lock:
            known = {
                name: f"{type(worker).__name__} ({'alive' if worker.is_alive() else 'dead'})" for name, worker in self._workers.items()
            }
            return {**dict.fromkeys(self._factories, "factory (not started)"), **known}


_pool = WorkerPool()
_pool.register("default", factory=lambda: TorchMPWorker("default"))
get_worker, register_worker, shutdown_workers, list_workers = _pool.get, _pool.register, _pool.shutdown, _pool.list_workers
atexit.register(shutdown_workers)
