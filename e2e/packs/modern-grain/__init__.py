"""A sample pack that ComfyUI can import, with another numpy than the one it asks for."""

import time

import comfy.utils
import numpy
import torch


class ModernGrain:
    """Coarse grain from a hash of the pixels: no random numbers, so that two runs give the same bits."""

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"image": ("IMAGE",), "amount": ("INT", {"default": 24, "min": 0, "max": 255})}}

    RETURN_TYPES = ("IMAGE", "STRING")
    RETURN_NAMES = ("image", "report")
    FUNCTION = "grain"
    CATEGORY = "samples"

    def grain(self, image, amount):
        """Returns the image and what it was computed with."""
        pixels = (image.numpy() * 255).astype(numpy.int64)
        noise = (pixels * 2654435761 % 4294967296) >> 24
        grained = numpy.clip(pixels + (noise - 128) * amount // 256, 0, 255)
        return (torch.from_numpy((grained / 255).astype(numpy.float32)), f"numpy {numpy.__version__}")


class SlowSteps:
    """Counts steps with a progress bar: something to watch and to cancel."""

    @classmethod
    def INPUT_TYPES(cls):
        limits = {"default": 20, "min": 1, "max": 10000}
        return {"required": {"image": ("IMAGE",), "steps": ("INT", limits), "milliseconds": ("INT", {"default": 50, "max": 10000})}}

    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "run"
    CATEGORY = "samples"

    def run(self, image, steps, milliseconds):
        """Passes the image on."""
        bar = comfy.utils.ProgressBar(steps)
        for step in range(steps):
            time.sleep(milliseconds / 1000)
            print(f"step {step + 1} of {steps}")
            bar.update(1)
        return (image,)


NODE_CLASS_MAPPINGS = {"ModernGrain": ModernGrain, "SlowSteps": SlowSteps}
NODE_DISPLAY_NAME_MAPPINGS = {"ModernGrain": "Modern Grain", "SlowSteps": "Slow Steps"}
