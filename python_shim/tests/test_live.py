"""Inputs that take live objects of ComfyUI's process are known before a pack is isolated."""

import pytest

from python_shim.wire.live import live_inputs

COMBO = (
    "COMFY_DYNAMICCOMBO_V3",
    {"options": [{"key": "a", "inputs": {"required": {"v": ("VAE", {})}}}, {"key": "b", "inputs": {"optional": {"i": ("IMAGE",)}}}]},
)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (("MODEL",), ["MODEL"]),
        (("BACKGROUND_REMOVAL", {}), ["BACKGROUND_REMOVAL"]),
        (("MODEL,CLIP", {}), ["CLIP", "MODEL"]),
        (("IMAGE,MODEL", {}), []),
        (("LORA_MODEL",), []),
        (("MESH",), []),
        ((["MODEL", "CLIP"],), []),
        (("STRING", {"default": "MODEL", "tooltip": ["VAE"]}), []),
        (COMBO, ["VAE"]),
        (("COMFY_DYNAMICCOMBO_V3", {"options": [{"key": "c", "inputs": {"required": {"inner": COMBO}}}]}), ["VAE"]),
        (("COMFY_AUTOGROW_V3", {"template": {"input": {"required": {"m": ("CLIP", {})}}, "prefix": "m"}}), ["CLIP"]),
        (("COMFY_DYNAMICSLOT_V3", {"slotType": "SAMPLER", "inputs": {"required": {}}}), ["SAMPLER"]),
        ((), []),
        (None, []),
    ],
)
def test_the_live_types_of_an_input(spec, expected):
    assert live_inputs({"required": {"value": spec}}) == expected == live_inputs({"optional": {"value": spec}, "hidden": {"v": "VAE"}})


def test_options_that_hold_themselves_end():
    options = {}
    options["again"] = [options] * 50
    assert live_inputs({"required": {"value": ("VAE", options)}}) == ["VAE"]
    assert live_inputs({}) == [] == live_inputs({"required": None})
