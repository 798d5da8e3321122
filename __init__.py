"""comfyui-envmanager as a ComfyUI node pack: no nodes, a panel, and the shim."""

import logging

from .prestartup_script import shim

NODE_CLASS_MAPPINGS = {}
WEB_DIRECTORY = "./web/dist"

try:
    shim().register()
except Exception:  # noqa: BLE001 - whatever is wrong with us, ComfyUI starts
    logging.getLogger("comfyui-envmanager").exception("comfyui-envmanager could not register its panel")
