"""Lists of files that remember the folder they come from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class FileList(list):
    """What `folder_paths.get_filename_list(folder)` gave, perhaps with entries before and after."""

    def __init__(self, files: Iterable[Any], folder: str, before: Iterable[Any] = (), after: Iterable[Any] = ()) -> None:
        self.folder, self.before, self.after = folder, list(before), list(after)
        super().__init__([*self.before, *files, *self.after])

    @property
    def files(self) -> list[Any]:
        """Without the entries around them."""
        return list(self)[len(self.before) : len(self) - len(self.after)]

    def __add__(self, other: Any) -> Any:
        if isinstance(other, FileList):
            return [*self, *other]
        return FileList(self.files, self.folder, self.before, [*self.after, *other])

    def __radd__(self, other: Any) -> Any:
        return FileList(self.files, self.folder, [*other, *self.before], self.after)
