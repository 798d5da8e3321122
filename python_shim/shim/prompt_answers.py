"""Answers to a prompt that is not taken, as ComfyUI gives them (`server.py`)."""

from __future__ import annotations

import json
import re
from typing import Any

from aiohttp import web

#: What ComfyUI calls a prompt that has a node class which is not there: the newer ones, and 0.3.
_NO_CLASS = ("missing_node_type", "invalid_prompt")


def refused(kind: str, message: str, more: dict[str, Any]) -> web.Response:
    """A refusal of ours."""
    error = {"type": kind, "message": message, "details": "", "extra_info": more}
    return web.json_response({"error": error, "node_errors": {}}, status=400)


def explained(answer: web.StreamResponse, not_loaded: dict[str, str]) -> web.StreamResponse:
    """ComfyUI's answer to a prompt. A node class may be missing because an isolated pack could not be loaded (`not_loaded`: why, by pack);
    ComfyUI itself would take that pack for not installed."""
    if not (not_loaded and isinstance(answer, web.Response) and answer.status == 400):
        return answer
    try:
        said = json.loads(answer.text or "")
        if said["error"]["type"] not in _NO_CLASS:
            return answer
        reasons = [f"{pack} runs isolated and could not be loaded: {_sentence(why)}" for pack, why in not_loaded.items()]
        said["error"]["message"] = " ".join([said["error"]["message"], *reasons])
    except (ValueError, TypeError, KeyError):  # an answer that we do not know
        return answer
    return web.json_response(said, status=400)


def _sentence(error: str) -> str:
    """The last line of an error as Python writes it, without the name of its class."""
    return re.sub(r"^[\w.]+: ", "", error.strip().split("\n")[-1]).rstrip(".") + "."
