"""A node class with a name of ComfyUI's own, which ComfyUI ignores."""


class EmptyImage:
    """Not ComfyUI's."""

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"width": ("INT", {})}}

    RETURN_TYPES = ("STRING",)
    FUNCTION = "run"
    CATEGORY = "tests"

    def run(self, width):
        """Not an image."""
        return ("not an image",)


class CoreNameOther(EmptyImage):
    """One that is taken."""


NODE_CLASS_MAPPINGS = {"EmptyImage": EmptyImage, "CoreNameOther": CoreNameOther}
