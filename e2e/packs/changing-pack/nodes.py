"""What tests change: the first version."""


class ChangingScale:
    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"value": ("INT", {"default": 1})}}

    @classmethod
    def VALIDATE_INPUTS(cls, value):
        return True if value >= 0 else "a value below zero"

    RETURN_TYPES = ("STRING",)
    FUNCTION = "run"
    CATEGORY = "tests"

    def run(self, value):
        return (f"first {value}",)


class ChangingOther:
    """Without a check of its inputs: nothing starts its worker before it runs."""

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"amount": ("INT", {"default": 1})}}

    RETURN_TYPES = ("STRING",)
    FUNCTION = "run"
    CATEGORY = "tests"

    def run(self, amount):
        return (f"other {amount}",)


NODE_CLASS_MAPPINGS = {"ChangingScale": ChangingScale, "ChangingOther": ChangingOther}
