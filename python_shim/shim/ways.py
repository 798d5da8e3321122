"""Calls that go straight to a warm worker's process, past the bridge, which hears of each and keeps account of it.

The bridge starts workers, and says with a call's answer where its process takes more (`AnswerHeader.straight`). It knows how a process
died, so it is the bridge that answers a straight call whose process has gone.
"""

from __future__ import annotations

import collections
import contextlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from ..wire.frames import pack
from .connecting import Unsent, lost
from .lane import Lane, Waiter

if TYPE_CHECKING:
    from ..wire.errors import CodedError
    from .call import Call
    from .owners import Owners

#: Larger calls go through the bridge: a straight one is to be sent as a whole or not at all.
_LARGEST = 1 << 16
#: So much of an error goes into the bridge's journal.
_LONGEST_MESSAGE = 2000


def drained(queue: collections.deque[Any]) -> list[Any]:
    """What is in the queue, and out of it then. Another thread may put something in meanwhile: it is in one of both."""
    found = []
    with contextlib.suppress(IndexError):
        while queue:
            found.append(queue.popleft())
    return found


class Way(NamedTuple):
    """Where a worker's process takes calls: the path of a Unix socket. `owner` names the process, `worker` is shown to people."""

    worker: str
    owner: str
    socket: str


class Ways:
    """The ways that are known, and what the bridge is to be told of calls that went them."""

    def __init__(self, owners: Owners) -> None:
        self._by_pack: dict[str, Way] = {}
        self._owners = owners
        self._ended: collections.deque[dict[str, Any]] = collections.deque()

    def learn(self, pack_id: str, header: dict[str, Any]) -> None:
        """From a bridge's answer to a call of that pack."""
        found = header.get("straight")
        if found is not None and not self._owners.is_gone(found["owner"]):
            self._by_pack[pack_id] = Way(**found)

    def of(self, call: Call) -> Way | None:
        """The way for a call; None: through the bridge. A check of inputs does not wait for the node that runs, so it is not for here;
        nor is a call with objects of other processes, which the bridge finds or refuses.
        """
        way = self._by_pack.get(call.pack)
        if way is None or call.method == "VALIDATE_INPUTS" or len(call.body) > _LARGEST or any(owner != way.owner for owner in call.owners):
            return None
        return way

    def forget(self) -> None:
        """All calls go through the bridge until it says anew: it has something to tell the workers first, or is gone."""
        self._by_pack.clear()

    def leave(self, call: Call) -> None:
        """That call was cancelled and may not end: the bridge knows when its process takes calls again, or which one does."""
        way = self._by_pack.get(call.pack)
        if way is not None:
            self.close(way.owner)

    def close(self, owner: str) -> None:
        """That process takes no more."""
        self._by_pack = {name: way for name, way in self._by_pack.items() if way.owner != owner}

    def ended(self, call: Call, error: dict[str, Any] | None) -> None:
        """A call has ended, and its result is mapped."""
        said: dict[str, Any] = {"call": call.id, "ms": (time.perf_counter() - call.began) * 1000}
        if error is not None:
            said["error"] = {"code": error["code"], "message": error["message"][:_LONGEST_MESSAGE]}
        self._ended.append(said)

    def told(self) -> list[dict[str, Any]]:
        """What the bridge is told with the next frame."""
        return drained(self._ended)

    def put_back(self, ended: list[dict[str, Any]]) -> None:
        """It was not told."""
        self._ended.extendleft(reversed(ended))

    def ask(
        self,
        call: Call,
        bridge: Lane,
        straight: Lane,
        waiter: Waiter,
        beside: dict[str, Any],
        released: list[str],
        again: Callable[[], None],
    ) -> bool:
        """Send a call straight, and word of it to the bridge, first: it knows whose output comes then. False: the process did not take it.

        Raises OSError if the bridge has gone. `beside` goes to the bridge, `released` (leases of that process) to the process. `again` runs
        if it turns out later that the process has not taken it: the call is to go through the bridge.
        """
        way: Way = straight.way
        sent = _Sent(self, call, bridge, straight, waiter, again)
        sent.account = bridge.ask({**call.header, "straight": way.owner, **beside}, b"", Waiter(sent.died))
        call.way = way
        try:
            sent.number = straight.ask({**call.header, **({"released": released} if released else {})}, call.body, Waiter(sent.answered))
        except OSError:
            sent.not_taken()
            return False
        return True


class _Sent:
    """A call that went straight: whichever of the two ends its waiting, the other is not waited for any more."""

    __slots__ = ("_again", "_bridge", "_call", "_has_answer", "_straight", "_waiter", "_ways", "account", "number")

    def __init__(self, ways: Ways, call: Call, bridge: Lane, straight: Lane, waiter: Waiter, again: Callable[[], None]) -> None:
        self._ways, self._again = ways, again
        self._call, self._bridge, self._straight, self._waiter = call, bridge, straight, waiter
        self._has_answer = False
        #: Its numbers on the two connections.
        self.account = self.number = 0

    def died(self, header: dict[str, Any], body: bytes, error: CodedError | None) -> None:
        """The bridge says how the process ended, or is gone itself."""
        if self._straight.loop is self._bridge.loop:
            self._straight.usable()  # reads what the process said before
        if self._has_answer:
            return
        self._has_answer = True
        self._straight.forget(self.number)
        if isinstance(error, Unsent):  # word of it was not sent; the call itself was
            error = lost()
        self._call.way = None  # the bridge knows
        self._waiter.done(header, body, error)

    def not_taken(self) -> None:
        """The process has not got the call as a whole: the bridge may have it."""
        self._bridge.forget(self.account)
        self._ways.close(self._straight.way.owner)
        self._call.way = None
        self._call.header["unsent"] = [self._call.id]

    def answered(self, header: dict[str, Any], body: bytes, error: CodedError | None) -> None:
        """The process has answered, or can say nothing more: then the bridge says why. If it only cannot be understood, it is ended."""
        if self._has_answer:
            return
        if isinstance(error, Unsent):
            self._has_answer = True
            self.not_taken()
            return self._again()
        if error is not None:
            self._bridge.tell(pack({"cancel": self._call.id}))
            return
        self._has_answer = True
        self._bridge.forget(self.account)
        if "unread" not in header:
            header["owner"] = self._straight.way.owner
        self._waiter.done(header, body, None)
