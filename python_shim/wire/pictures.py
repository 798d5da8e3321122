"""Images of PIL: pixels of every mode, palette and `info`. Only its plain Image; one that still has its file open is another class."""

from __future__ import annotations

import importlib
import sys
from typing import Any

#: What an image holds in all versions beside pixels, size, palette and info: caches of what those say, and what `save` leaves behind.
_OWN = {"_im", "im", "_mode", "mode", "_size", "palette", "info", "_readonly", "readonly", "_exif", "pyaccess"}
_OWN |= {"encoderinfo", "encoderconfig", "_default_encoderinfo"}
_WITH_PALETTE = ("P", "PA")


def is_picture(kind: type) -> bool:
    """Whether a class is PIL's Image itself."""
    return kind is getattr(sys.modules.get("PIL.Image"), "Image", None)


def parts(value: Any) -> list[Any] | None:
    """Mode, size, pixels, palette with its mode, info; None for an image with more to it."""
    if vars(value).keys() - _OWN:
        return None
    try:
        value.load()
        exif = vars(value).get("_exif")
        if exif and "exif" not in value.info:
            return None
        pixels = value.tobytes("raw", value.mode) if value.width and value.height else b""
    except (OSError, ValueError, AttributeError, SystemError):  # closed, or a mode without bytes of its own
        return None
    palette = None
    if value.mode in _WITH_PALETTE:
        mode = value.im.getpalettemode()
        palette = [mode, bytes(value.im.getpalette(mode, mode))]
    return [value.mode, list(value.size), pixels, palette, value.info]


def make(mode: str, size: list[int], pixels: bytes, palette: list[Any] | None, info: dict[Any, Any]) -> Any:
    """The image of those parts."""
    image = importlib.import_module("PIL.Image")
    made = image.frombytes(mode, tuple(size), pixels, "raw", mode) if pixels else image.new(mode, tuple(size))
    if palette is not None:
        made.putpalette(palette[1], palette[0])
    made.info = info
    return made
