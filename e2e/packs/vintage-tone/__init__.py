"""A sample pack that ComfyUI cannot import: it needs tinyops, and a numpy that clashes with ComfyUI's."""

import numpy
import tinyops
import torch


class VintageTone:
    """A sepia tone, in whole numbers so that every numpy gives the same bits."""

    @classmethod
    def INPUT_TYPES(cls):
        strength = {"default": 200, "min": 0, "max": 256}
        return {"required": {"image": ("IMAGE",), "strength": ("INT", strength)}}

    RETURN_TYPES = ("IMAGE", "STRING")
    RETURN_NAMES = ("image", "report")
    FUNCTION = "tone"
    CATEGORY = "samples"
    DESCRIPTION = "A sepia tone. Also says which numpy it ran on."

    def tone(self, image, strength):
        """Returns the image and what it was computed with."""
        pixels = (image.numpy() * 255).astype(numpy.int64)
        grey = pixels.sum(axis=-1, keepdims=True) // 3
        sepia = numpy.clip(grey * numpy.array([[[[274, 246, 209]]]]) // 256, 0, 255)
        mixed = (sepia * strength + pixels * (256 - strength)) // 256
        result = torch.from_numpy((mixed / 255).astype(numpy.float32))
        return (result, f"numpy {numpy.__version__}, tinyops {tinyops.__version__} ({tinyops.BUILD})")


NODE_CLASS_MAPPINGS = {"VintageTone": VintageTone}
NODE_DISPLAY_NAME_MAPPINGS = {"VintageTone": "Vintage Tone"}
