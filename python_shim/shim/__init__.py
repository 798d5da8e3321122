"""Loaded inside ComfyUI. Uses the standard library and what ComfyUI always has: aiohttp, numpy, torch."""

import logging
import traceback

from ..wire.errors import printable


class _Printable(logging.Filter):
    """Packs choose much of what is logged: here, where it leaves, nothing that ComfyUI's terminal would obey is left of it."""

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            record.msg, record.args = printable(record.getMessage()), None
            if record.exc_info:
                record.exc_text = printable("".join(traceback.format_exception(*record.exc_info)).rstrip("\n"))
                record.exc_info = None
        except Exception:  # noqa: BLE001 - a pack's object may not be able to say what it is; whoever logs goes on
            record.msg, record.args, record.exc_info = "comfyui-envmanager: something that cannot be shown was told", None, None
        return True


log = logging.getLogger("comfyui-envmanager")
log.addFilter(_Printable())
