"""Node classes of ComfyUI's newer kind, through its entry point, for tests. Needs a real ComfyUI."""

import dataclasses
import os

import folder_paths
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


class Extension(ComfyExtension):
    async def get_node_list(self):
        return [NewerBasic, NewerAsync, NewerBlock, NewerAll, NewerHidden, NewerFiles]


async def comfy_entrypoint():
    return Extension()
