"""A few node classes, and the loader of node packs under ComfyUI's names and signature."""

import importlib.util
import json
import logging
import os
import sys
import traceback

import folder_paths
import numpy
import torch
from comfy_config import config_parser
from PIL import Image


class EmptyImage:
    """An image of one colour with a ramp, so that every pixel says something."""

    @classmethod
    def INPUT_TYPES(cls):
        size = {"default": 64, "min": 1, "max": 4096}
        return {
            "required": {
                "width": ("INT", size),
                "height": ("INT", size),
                "batch_size": ("INT", {"default": 1}),
                "color": ("INT", {"default": 0}),
            }
        }

    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "generate"
    CATEGORY = "image"

    def generate(self, width, height, batch_size=1, color=0):
        """B×H×W×C float32 in 0…1."""
        ramp = torch.linspace(0, 1, batch_size * width * height * 3).reshape(batch_size, height, width, 3)
        return ((ramp + color / 0xFFFFFF) % 1.0,)


class SaveImage:
    """Writes PNG files."""

    folder, kind = "output", "output"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"images": ("IMAGE",), "filename_prefix": ("STRING", {"default": "image"})}}

    RETURN_TYPES = ()
    FUNCTION = "save"
    OUTPUT_NODE = True
    CATEGORY = "image"

    def save(self, images, filename_prefix="image"):
        """Returns the `ui` that the frontend shows."""
        target = getattr(folder_paths, f"get_{self.folder}_directory")()
        os.makedirs(target, exist_ok=True)
        shown = []
        for number, image in enumerate(images):
            name = f"{filename_prefix}_{number:05}_.png"
            pixels = (image.cpu().numpy() * 255).clip(0, 255).astype(numpy.uint8)
            Image.fromarray(pixels).save(os.path.join(target, name))
            shown.append({"filename": name, "subfolder": "", "type": self.kind})
        return {"ui": {"images": shown}}


class PreviewImage(SaveImage):
    """As SaveImage, into the temp folder."""

    folder, kind = "temp", "temp"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"images": ("IMAGE",)}}


class PreviewAny:
    """Shows any value as text; tests read it from the history."""

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"source": ("*", {})}}

    RETURN_TYPES = ()
    FUNCTION = "main"
    OUTPUT_NODE = True
    CATEGORY = "utils"

    def main(self, source):
        """Returns the `ui` with the text."""
        return {"ui": {"text": (source if isinstance(source, str) else json.dumps(source),)}}


NODE_CLASS_MAPPINGS = {cls.__name__: cls for cls in (EmptyImage, SaveImage, PreviewImage, PreviewAny)}
NODE_DISPLAY_NAME_MAPPINGS = {}
EXTENSION_WEB_DIRS = {}
LOADED_MODULE_DIRS = {}


def before_node_execution():
    """Raises if the user has cancelled."""
    import comfy.model_management

    comfy.model_management.throw_exception_if_processing_interrupted()


async def load_custom_node(module_path, ignore=set(), module_parent="custom_nodes"):
    """Import a node pack; a failure is logged and returns False."""
    name = os.path.basename(module_path)
    system_name = module_path.replace(".", "_x_")
    try:
        spec = importlib.util.spec_from_file_location(system_name, os.path.join(module_path, "__init__.py"))
        module = importlib.util.module_from_spec(spec)
        sys.modules[system_name] = module
        spec.loader.exec_module(module)
    except Exception as error:
        logging.warning(traceback.format_exc())
        logging.warning("Cannot import %s module for custom nodes: %s", module_path, error)
        return False
    LOADED_MODULE_DIRS[name] = module_path
    config = config_parser.extract_node_configuration(module_path)
    if config.tool_comfy.web and os.path.isdir(os.path.join(module_path, config.tool_comfy.web)):
        EXTENSION_WEB_DIRS[config.project.name] = os.path.join(module_path, config.tool_comfy.web)
    web = getattr(module, "WEB_DIRECTORY", None)
    if web and os.path.isdir(os.path.join(module_path, web)):
        EXTENSION_WEB_DIRS[name] = os.path.abspath(os.path.join(module_path, web))
    for key, cls in module.NODE_CLASS_MAPPINGS.items():
        if key not in ignore:
            NODE_CLASS_MAPPINGS[key] = cls
            cls.RELATIVE_PYTHON_MODULE = f"{module_parent}.{name}"
    NODE_DISPLAY_NAME_MAPPINGS.update(getattr(module, "NODE_DISPLAY_NAME_MAPPINGS", {}))
    return True


async def load_all_custom_nodes():
    """Every pack, in the order the folder lists them."""
    own, core = sys.modules[__name__], set(NODE_CLASS_MAPPINGS)
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "comfy"))
    for root in folder_paths.get_folder_paths("custom_nodes"):
        for name in os.listdir(root):
            path = os.path.join(root, name)
            if os.path.isfile(os.path.join(path, "__init__.py")) and not name.endswith(".disabled"):
                await own.load_custom_node(path, core, "custom_nodes")
