"""The envelope of `schemas/envelope.ts`: requests, answers and notifications over any pair of pipes."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from .errors import CodedError, RemoteFailure, describe_exception


def dumps(message: dict[str, Any]) -> str:
    """One line of ASCII JSON: no newline and no lone surrogate can break the framing."""
    return json.dumps(message, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def as_error(error: BaseException) -> dict[str, Any]:
    """Whatever was raised, as the `WireError` of the schemas."""
    if isinstance(error, CodedError):
        return error.wire()
    wire = {"code": "INTERNAL", "message": f"{type(error).__name__}: {error}", "hint": "The traceback names the place."}
    return {**wire, "exception": describe_exception(error)}


def answer(request: int, work: Callable[[], Any]) -> dict[str, Any]:
    """The answer to a request: its result, or its error as data."""
    try:
        return {"id": request, "result": work()}
    except BaseException as error:  # noqa: BLE001 - whatever a pack raises is an answer
        return {"id": request, "error": as_error(error)}


class PendingCalls:
    """Requests that wait for an answer. `close` settles every one, so that nobody waits for a dead link."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._waiting: dict[int, Future[Any]] = {}
        self._closed: CodedError | None = None

    def open(self) -> tuple[int, Future[Any]]:
        """A new request's id and the future of its answer."""
        future: Future[Any] = Future()
        with self._lock:
            if self._closed is not None:
                raise self._closed
            number = next(self._numbers)
            self._waiting[number] = future
        return number, future

    def settle(self, message: dict[str, Any]) -> None:
        """Hand an answer to whoever waits for it; nobody waiting is no error."""
        with self._lock:
            future = self._waiting.pop(message["id"], None)
        if future is None or not future.set_running_or_notify_cancel():
            return
        if "error" in message:
            future.set_exception(RemoteFailure(message["error"]))
        else:
            future.set_result(message["result"])

    def close(self, reason: CodedError) -> None:
        """Fail every waiting request, and every later one."""
        with self._lock:
            self._closed = reason
            waiting, self._waiting = list(self._waiting.values()), {}
        for future in waiting:
            if future.set_running_or_notify_cancel():
                future.set_exception(reason)

    def reopen(self) -> None:
        """Accept requests again, after a reconnect."""
        with self._lock:
            self._closed = None
