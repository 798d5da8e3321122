"""Node classes of ComfyUI's newer kind, through its entry point, for tests. Needs a real ComfyUI."""

import os

from comfy_api.latest import ComfyExtension, io


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


class Extension(ComfyExtension):
    async def get_node_list(self):
        return [NewerBasic, NewerAsync, NewerBlock]


async def comfy_entrypoint():
    return Extension()
