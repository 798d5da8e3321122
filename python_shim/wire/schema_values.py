"""Values of INPUT_TYPES, RETURN_TYPES and the like. They are kept on disk and read by JavaScript, so there is no shared memory in them,
and every number that JavaScript would change is tagged. What a class only adds to text, numbers and containers is left out here, as
ComfyUI itself leaves it out for the browser, but for what packs do with types (`magic.py`)."""

from __future__ import annotations

import math
import pathlib
import sys
from collections.abc import Callable
from typing import Any

from . import magic
from .errors import NotPortable
from .files import FileList, Listing
from .place import kind_name
from .survey import MAX_DEPTH

_EXACT = 1 << 53


class SchemaValues:
    """Encodes one schema. `handle` gives a form for any other object, or None."""

    def __init__(self, handle: Callable[[Any, str], dict[str, Any] | None]) -> None:
        self._handle = handle
        self._open: set[int] = set()

    def form(self, value: Any, path: str) -> Any:
        """The JSON form of `value`."""
        if value is None or value is True or value is False:
            return value
        special = magic.probe(value)
        if special is not None:
            return self._magic(value, special, path)
        listing = value.listing() if isinstance(value, FileList) else None
        if listing is not None:
            return self._listing(listing, path)
        if isinstance(value, str):
            return str.__str__(value)
        numpy: Any = sys.modules.get("numpy")
        if numpy is not None and isinstance(value, getattr(numpy, "generic", ())):
            value = getattr(value, "item", lambda: value)()
        if isinstance(value, (int, float)):
            return self._number(value)
        if isinstance(value, (list, tuple, dict, set, frozenset)):
            return self._container(value, path)
        if isinstance(value, pathlib.PurePath):
            return {"$": "path", "v": str(value)}
        tag = self._handle(value, path)
        if tag is None:
            hint = "Use data there."
            raise NotPortable(path, f"a {kind_name(value)}", "a live object that cannot leave its process", hint)
        return tag

    def _number(self, value: Any) -> Any:
        if isinstance(value, bool):
            return value
        if isinstance(value, int):
            plain = int(value)
            return plain if -_EXACT < plain < _EXACT else {"$": "int", "v": hex(plain)}
        plain = float(value)
        exact = math.isfinite(plain) and not plain.is_integer()
        return plain if exact else {"$": "float", "v": repr(plain)}

    def _container(self, value: Any, path: str) -> Any:
        if id(value) in self._open:
            raise NotPortable(path, "a container that holds itself", "which cannot be sent", "Return a structure without cycles.")
        if len(self._open) >= MAX_DEPTH:
            raise NotPortable(path, f"nested deeper than {MAX_DEPTH} levels", "which cannot be sent", "Return a flatter structure.")
        self._open.add(id(value))
        try:
            return self._items(value, path)
        finally:
            self._open.discard(id(value))

    def _items(self, value: Any, path: str) -> Any:
        if isinstance(value, dict):
            pairs = [[self.form(k, f"a key of {path}"), self.form(v, f"{path}[{k!r:.80}]")] for k, v in value.items()]
            return {"$": "dict", "v": pairs}
        items = [self.form(item, f"{path}[{i}]") for i, item in enumerate(value)]
        if isinstance(value, list):
            return items
        if isinstance(value, (set, frozenset)):
            return {"$": "set", "v": items, "frozen": isinstance(value, frozenset)}
        return {"$": "tuple", "v": items}

    def _magic(self, value: Any, special: dict[str, Any], path: str) -> Any:
        tag: dict[str, Any] = {"$": "magic", "kind": special["kind"]}
        if special["kind"] == "str":
            return {**tag, "v": str.__str__(value), **special}
        plain: Any = tuple(tuple.__iter__(value)) if special["kind"] == "tuple" else dict(value) if isinstance(value, dict) else {}
        return {**tag, "v": self._items(plain, path), "missing": self.form(special["missing"], path)}

    def _listing(self, listing: Listing, path: str) -> dict[str, Any]:
        parts = {"v": listing.files, "before": listing.before, "after": listing.after}
        encoded = {name: [self.form(item, path) for item in part] for name, part in parts.items()}
        return {"$": "files", "folder": listing.folder, **encoded}
