"""Node classes of ComfyUI's newer kind, through its entry point, for tests. Needs a real ComfyUI."""

import dataclasses
import importlib
import io as io_of_python
import os

import folder_paths
import torch
from comfy_api.latest import ComfyExtension, io

#: What this ComfyUI's schemas know.
KNOWN = {field.name for field in dataclasses.fields(io.Schema)}
HIDDEN = [
    getattr(io.Hidden, name)
    for name in ("unique_id", "extra_pnginfo", "auth_token_comfy_org", "comfy_usage_source")
    if hasattr(io.Hidden, name)
]


class NewerBasic(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="NewerBasic",
            display_name="Newer, basic",
            category="tests",
            description="Adds, and says where.",
            inputs=[io.Int.Input("number", default=2), io.Combo.Input("how", options=["plain", "tuple"])],
            outputs=[io.Int.Output(display_name="sum"), io.String.Output("said")],
            hidden=[io.Hidden.unique_id, io.Hidden.prompt],
        )

    @classmethod
    def validate_inputs(cls, number):
        return True if number != 13 else "thirteen is not allowed"

    @classmethod
    def fingerprint_inputs(cls, number, how):
        return f"{number} {how}"

    @classmethod
    def execute(cls, number, how):
        said = f"node {cls.hidden.unique_id} of {len(cls.hidden.prompt)} isolated {os.environ.get('COMFYUI_ISOLATION_WORKER', '0')}"
        return (number + 1, said) if how == "tuple" else io.NodeOutput(number + 1, said)


class NewerAsync(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="NewerAsync",
            category="tests",
            inputs=[io.Image.Input("image"), io.Image.Input("other", optional=True, lazy=True)],
            outputs=[io.Image.Output()],
            is_output_node=True,
        )

    @classmethod
    async def execute(cls, image, other=None):
        return io.NodeOutput(image * 2, ui={"text": [f"{tuple(image.shape)} {other is None}"]})


class NewerBlock(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(node_id="NewerBlock", category="tests", inputs=[io.Image.Input("image")], outputs=[io.Image.Output()])

    @classmethod
    def execute(cls, image):
        return io.NodeOutput(image, block_execution="blocked for the test")


class NewerAll(io.ComfyNode):
    """Takes whatever it is given, and keeps what it shows."""

    @classmethod
    def define_schema(cls):
        more = {name: True for name in ("accept_all_inputs", "has_intermediate_output") if name in KNOWN}
        return io.Schema(node_id="NewerAll", category="tests", inputs=[io.Int.Input("a", default=1)], outputs=[io.String.Output()], **more)

    @classmethod
    def execute(cls, **kwargs):
        said = str(sorted(kwargs.items()))
        return io.NodeOutput(said, ui={"text": [said]})


class NewerHidden(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(node_id="NewerHidden", category="tests", inputs=[], outputs=[io.String.Output()], hidden=HIDDEN)

    @classmethod
    def execute(cls):
        return io.NodeOutput(str({member.name: getattr(cls.hidden, member.name) for member in HIDDEN}))


class NewerFiles(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        files = folder_paths.get_filename_list("checkpoints")
        return io.Schema(
            node_id="NewerFiles", category="tests", inputs=[io.Combo.Input("file", options=files)], outputs=[io.String.Output()]
        )

    @classmethod
    def execute(cls, file):
        return io.NodeOutput(file)


def things():
    """Plain data of every kind that this ComfyUI's API has."""
    found = []

    def add(module, name, *given, **named):
        try:
            kind = getattr(importlib.import_module(f"comfy_api.latest.{module}"), name)
        except (ImportError, AttributeError):
            return
        found.append(kind(*given, **named))

    rows = torch.arange(12.0).reshape(1, 4, 3)
    add("_util.geometry_types", "MESH", rows, torch.tensor([[[0, 1, 2]]]), material={"roughness": 0.5})
    add("_util.geometry_types", "VOXEL", rows > 3)
    add("_util.geometry_types", "SPLAT", rows, rows, rows, rows, rows)
    add("_util.geometry_types", "File3D", io_of_python.BytesIO(b"glTF"), "glb")
    add("_util.geometry_types", "File3D", "folder/model.obj")
    add("_util.image_types", "SVG", [io_of_python.BytesIO(b"<svg/>")])
    add("_input.curve_types", "MonotoneCubicCurve", [(0, 0), (0.5, 0.2), (1, 1)])
    add("_input.curve_types", "LinearCurve", [(0, 0), (1, 1)])
    add("_input.range_types", "RangeInput", 0.1, 0.9)
    return found


def said(value):
    """Any of it as text."""
    if isinstance(value, io_of_python.BytesIO):
        return ["bytes", value.getvalue().decode(), value.tell()]
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [said(item) for item in value]
    return (
        [type(value).__qualname__, type(value).__module__, {name: said(held) for name, held in vars(value).items()}]
        if hasattr(value, "__dict__")
        else str(value)
    )


class NewerThings(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="NewerThings", category="tests", inputs=[io.Int.Input("turn")], outputs=[io.AnyType.Output(), io.String.Output()]
        )

    @classmethod
    def execute(cls, turn):
        return io.NodeOutput(things(), os.environ.get("COMFYUI_ISOLATION_WORKER", "0"))


class NewerLook(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="NewerLook",
            category="tests",
            inputs=[io.AnyType.Input("things"), io.String.Input("made")],
            outputs=[],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, things, made):
        where = f"made {made}, seen {os.environ.get('COMFYUI_ISOLATION_WORKER', '0')}"
        return io.NodeOutput(ui={"text": [where, str(len(things)), str(said(things))]})


class Extension(ComfyExtension):
    async def get_node_list(self):
        return [NewerBasic, NewerAsync, NewerBlock, NewerAll, NewerHidden, NewerFiles, NewerThings, NewerLook]


async def comfy_entrypoint():
    return Extension()
