"""Who has the shared memory of a call's inputs: one object for each call, which its end goes through."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .calls import Calls


class Loan:
    """Made with the call, away once it is sent, and ended once, when it is known who has it.

    Memory is used again only if nobody can have it: the call was not sent, not read, or the process that read it has ended or told so.
    """

    __slots__ = ("_bridge", "_calls", "_is_away", "_leases")

    def __init__(self, calls: Calls, leases: list[str]) -> None:
        self._calls, self._leases = calls, leases
        self._is_away = False
        self._bridge = calls.owners.bridge

    def send(self) -> None:
        """From now on somebody may have it."""
        self._is_away = True

    def unsent(self) -> None:
        """The call has not been delivered: it is here as before."""
        self._is_away = False

    def back(self) -> None:
        """Nobody has it, and that is known."""
        self._calls.pool.release_all_of(self._ended())

    def held(self, owner: str) -> None:
        """That process has read the call. It releases its leases itself, also those that a node keeps, and at the latest by its end."""
        leases = self._ended()
        if not leases:
            return
        self._calls.pool.hold(leases, owner)
        if self._bridge != self._calls.owners.bridge:  # it has gone since the answer came: nobody will tell of that process's end
            self._calls.pool.abandon(leases, owners_too=True)

    def lost(self) -> None:
        """Nobody says what has become of the call."""
        leases = self._ended()
        if leases:
            self._calls.pool.abandon(leases, owners_too=self._bridge != self._calls.owners.bridge)

    def end(self) -> None:
        """The caller goes. Who takes the answer of a call that is away ends its loan."""
        if not self._is_away:
            self.back()

    def _ended(self) -> list[str]:
        leases, self._leases = self._leases, []
        return leases
