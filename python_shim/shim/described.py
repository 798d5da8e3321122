"""What node classes say of themselves: values of a `NodeClass` as its proxy gives them, with the lists of model files as they are now, and
which inputs of any class take live objects."""

from __future__ import annotations

from typing import Any

from ..wire.decoder import Decoder
from ..wire.files import FileList
from ..wire.live import live_inputs
from ..wire.mapping import MappedSegments
from . import log


def decode_schema(value: Any) -> Any:
    """A value of a `NodeClass`: containers and magic types, no shared memory and no objects."""
    return Decoder(MappedSegments(), lambda tag: None).decode(value)


def fresh(value: Any) -> Any:
    """The same with every list of model files as it is now. What has no such list is returned as it is."""
    if isinstance(value, FileList):
        import folder_paths

        listing = value.listing()
        try:
            return list(value) if listing is None else [*listing.before, *folder_paths.get_filename_list(listing.folder), *listing.after]
        except KeyError:
            return list(value)
    if type(value) is dict:
        return {key: fresh(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(fresh(item) for item in value)
    return value


def holds_files(value: Any) -> bool:
    """Whether there is a list of model files in it."""
    if isinstance(value, FileList):
        return True
    items = value.values() if type(value) is dict else value if type(value) in (list, tuple) else ()
    return any(holds_files(item) for item in items)


def live_of(name: str, cls: Any) -> list[str]:
    """The inputs of a node class that take live objects, which cannot leave ComfyUI."""
    try:
        return live_inputs(cls.INPUT_TYPES())
    except BaseException as error:  # noqa: BLE001 - a pack's own fault, sys.exit() among them, and not ours to report here
        log.debug("comfyui-envmanager: INPUT_TYPES of %s: %s", name, error)
        return []
