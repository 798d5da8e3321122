"""Steps into ComfyUI's loading of node packs: `nodes.load_custom_node`, which ComfyUI looks up anew for each pack.

`prestartup_script.py` runs before `nodes` is imported, so a finder waits for that module and wraps the function in it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from . import log, saved
from .registry import Registry


class _Records(logging.Handler):
    """Keeps what ComfyUI logs while a pack is imported: its loader swallows the exception and logs the traceback."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


@contextlib.contextmanager
def _listening() -> Iterator[_Records]:
    records = _Records()
    root = logging.getLogger()
    root.addHandler(records)
    try:
        yield records
    finally:
        root.removeHandler(records)


def _is_isolated(registry: Registry, pack: str, ignore: Any) -> bool:
    """Whether the pack goes to a worker. What is wrong with us leaves it to ComfyUI."""
    try:
        registry.reserve(ignore)
        return saved.is_isolated(pack)
    except Exception:
        log.exception("comfyui-envmanager: %s is loaded as if we were not there", pack)
        return False


def wrap(nodes: Any, registry: Registry, leave_out: Callable[[str, str], None]) -> None:
    """Replace `nodes.load_custom_node`, keeping its signature, arguments that we do not know, and whatever wrapped it before us.
    `leave_out` is told of a pack, by its name and folder, of whose classes nothing is known."""
    inner = nodes.load_custom_node

    async def load_in_host(path: str, ignore: Any = frozenset(), parent: str = "custom_nodes", *args: Any, **more: Any) -> bool:
        pack = os.path.basename(path.rstrip("/\\"))
        with _listening() as records, registry.loading(pack):
            found = await inner(path, set(ignore), parent, *args, **more)
        error = None if found else next((text for text in records.texts if "Traceback" in text), "\n".join(records.texts))
        try:
            registry.loaded(pack, path, error)
        except Exception:  # of ours, and nothing that the pack need pay for
            log.exception("comfyui-envmanager: %s is loaded, and stands aside from now on", pack)
        return found

    async def load_custom_node(
        module_path: str, ignore: Any = frozenset(), module_parent: str = "custom_nodes", *args: Any, **more: Any
    ) -> bool:
        pack = os.path.basename(module_path.rstrip("/\\"))
        if module_parent != "custom_nodes" or not os.path.isdir(module_path):
            with registry.loading(""):
                return await inner(module_path, set(ignore), module_parent, *args, **more)
        if not _is_isolated(registry, pack, ignore):
            return await load_in_host(module_path, ignore, module_parent, *args, **more)
        try:
            report = saved.description(pack, module_path)
            if report is None:
                leave_out(pack, module_path)
            else:
                registry.register_proxies(pack, module_path, report)
                registry.offered(report)
            return True
        except Exception as error:  # noqa: BLE001 - ComfyUI starts all the same, and the panel tells
            log.warning("comfyui-envmanager: %s runs isolated and could not be loaded: %s", pack, error)
            registry.loaded(pack, module_path, "".join(traceback.format_exception_only(error)).strip())
            return False

    registry.load_in_host = load_in_host
    nodes.load_custom_node = load_custom_node
