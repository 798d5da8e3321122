"""What tests change: the first version."""

import json
import os


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


class ChangingNotes:
    """Keeps a file of its own beside its code, as many packs do."""

    FILE = os.path.join(os.path.dirname(__file__), "notes.json")

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"amount": ("INT", {"default": 1})}}

    RETURN_TYPES = ("STRING",)
    FUNCTION = "run"
    CATEGORY = "tests"

    def run(self, amount):
        """Adds a note."""
        with open(self.FILE, "a", encoding="utf-8") as file:
            file.write(f"{amount}\n")
        with open(self.FILE, encoding="utf-8") as file:
            return (f"notes {' '.join(file.read().split())}",)


def _outputs():
    """How many outputs a class has is said by a file of data."""
    try:
        with open(os.path.join(os.path.dirname(__file__), "outputs.json"), encoding="utf-8") as file:
            return json.load(file)
    except OSError:
        return 1


class ChangingOutputs(ChangingNotes):
    COUNT = _outputs()
    RETURN_TYPES = ("STRING",) * COUNT

    def run(self, amount):
        return tuple(f"output {number} of {self.COUNT}" for number in range(self.COUNT, 0, -1))


def _looks():
    """A class for each file of a kind that nobody but this pack knows."""
    folder = os.path.join(os.path.dirname(__file__), "looks")
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return {f"Changing{name.removesuffix('.cube')}": ChangingScale for name in names}


NODE_CLASS_MAPPINGS = {
    "ChangingNotes": ChangingNotes,
    "ChangingOutputs": ChangingOutputs,
    "ChangingScale": ChangingScale,
    "ChangingOther": ChangingOther,
    **_looks(),
}
