"""What a pack's pyproject.toml says, under ComfyUI's names."""

import os
import pathlib
import types


def extract_node_configuration(path):
    """The project's name and the web folder that `[tool.comfy]` names, "" if it names none."""
    project, comfy = {}, {}
    file = os.path.join(path, "pyproject.toml")
    if os.path.exists(file):
        import tomllib

        with pathlib.Path(file).open("rb") as opened:
            found = tomllib.load(opened)
        project, comfy = found.get("project", {}), found.get("tool", {}).get("comfy", {})
    name = project.get("name", os.path.basename(path))
    return types.SimpleNamespace(project=types.SimpleNamespace(name=name), tool_comfy=types.SimpleNamespace(web=comfy.get("web", "")))
