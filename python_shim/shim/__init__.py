"""Loaded inside ComfyUI. Uses the standard library and what ComfyUI always has: aiohttp, numpy, torch."""

import logging

log = logging.getLogger("comfyui-envmanager")
