"""Lists of files that remember the folder they come from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple


class Listing(NamedTuple):
    """The files of a folder, and what a pack has put around them."""

    folder: str
    before: list[Any]
    files: list[Any]
    after: list[Any]


class FileList(list):
    """What `folder_paths.get_filename_list(folder)` gave: packs add to it in every way that a list allows."""

    folder: str | None = None
    _given: tuple[Any, ...] = ()

    @classmethod
    def of(cls, folder: str, files: Iterable[Any]) -> FileList:
        """The list as the folder has it."""
        made = cls(files)
        made.folder, made._given = folder, tuple(made)
        return made

    def listing(self) -> Listing | None:
        """Where the folder's own files stand in it; None if they do not stand together any more."""
        if self.folder is None:
            return None
        given, count = list(self._given), len(self._given)
        # an empty folder's files stand before what was appended, unless something like "None" was put first
        starts = [len(self)] if count == 0 else [at for at in range(len(self) - count + 1) if self[at : at + count] == given]
        if not starts:
            return None
        return Listing(self.folder, self[: starts[0]], given, self[starts[0] + count :])

    def _like(self, items: Iterable[Any]) -> FileList:
        made = FileList(items)
        made.folder, made._given = self.folder, self._given
        return made

    def __add__(self, other: Any) -> Any:
        return [*self, *other] if isinstance(other, FileList) else self._like([*self, *other])

    def __radd__(self, other: Any) -> Any:
        return self._like([*other, *self])
