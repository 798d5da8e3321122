"""A sequence that has failed, as a file: `SEQUENCE_REPLAY=file` runs its steps again. What is left behind little by little needs what
came before on the same ComfyUI too: with `SEQUENCE_WHOLE=1` that is run first."""

from __future__ import annotations

import json
import pathlib
from typing import Any

from .driver import ROOT

FOLDER = ROOT / "test-results" / "sequences"


Steps = list[dict[str, Any]]


def write(name: str, steps: Steps, earlier: list[Steps], error: str) -> pathlib.Path:
    """The file that was written."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    file = FOLDER / f"{name}.json"
    file.write_text(json.dumps({"error": error, "steps": steps, "earlier": earlier}, indent=1))
    return file


def read(file: str, whole: bool = False) -> list[Steps]:
    """The sequences to run."""
    found = json.loads(pathlib.Path(file).read_text(encoding="utf-8"))
    return [*(found["earlier"] if whole else []), found["steps"]]
