"""Connections of the call path, to the bridge and to a worker's process, and what a call gets when there is none."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from ..wire.errors import CodedError

if TYPE_CHECKING:
    from .ways import Way

#: The answer to the upgrade comes from this computer: it takes milliseconds.
_CONNECT_SECONDS = 10.0


class Unsent(CodedError):
    """The other end has gone before a call was written as a whole: nobody has it."""

    def __init__(self) -> None:
        super().__init__(
            "CONNECTION_LOST", "The bridge went away before the call was sent; the node has not run.", "Run again in a few seconds."
        )


def lost() -> CodedError:
    """What a call gets when the bridge goes away under it."""
    return CodedError("CONNECTION_LOST", "The bridge has gone; the call may have run partly.", "Run again in a few seconds.")


def not_running(error: BaseException) -> CodedError:
    """What a call gets when there is no bridge: it has not been sent."""
    return CodedError("CONNECTION_LOST", f"The bridge is not running ({error}).", "Wait a few seconds; the panel says why.")


def connect(found: dict[str, Any]) -> socket.socket:
    """A connection to the bridge that `found` (its connection file) describes. Raises OSError."""
    local = found.get("socket")
    link = socket.socket(socket.AF_UNIX if local else socket.AF_INET, socket.SOCK_STREAM)
    try:
        link.settimeout(_CONNECT_SECONDS)
        link.connect(local or ("127.0.0.1", found["port"]))
        if not local:
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        lines = ["GET /calls HTTP/1.1", f"Host: 127.0.0.1:{found['port']}", "Connection: Upgrade", "Upgrade: envmanager-calls"]
        link.sendall("\r\n".join([*lines, f"Authorization: Bearer {found['token']}", "", ""]).encode())
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            more = link.recv(1)  # what follows the answer is the first frame's
            if not more:
                raise OSError("the bridge closed the connection")
            answer += more
        if not answer.startswith(b"HTTP/1.1 101"):
            raise OSError(f"the bridge refused the connection: {answer.splitlines()[0].decode(errors='replace')}")
        link.setblocking(False)
    except BaseException:
        link.close()
        raise
    return link


def connect_straight(way: Way) -> socket.socket:
    """A connection to a worker's process. Its kernel takes it at once, whatever the worker does. Raises OSError."""
    link = socket.socket(socket.AF_UNIX)
    try:
        link.setblocking(False)
        link.connect(way.socket)
    except BaseException:
        link.close()
        raise
    return link
