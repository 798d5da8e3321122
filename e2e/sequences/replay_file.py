"""A sequence that has failed, as a file: `SEQUENCE_REPLAY=file` runs its steps again."""

from __future__ import annotations

import json
import pathlib
from typing import Any

from .driver import ROOT

FOLDER = ROOT / "test-results" / "sequences"


def write(name: str, steps: list[dict[str, Any]], error: str) -> pathlib.Path:
    """The file that was written."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    file = FOLDER / f"{name}.json"
    file.write_text(json.dumps({"error": error, "steps": steps}, indent=1))
    return file


def read(file: str) -> list[dict[str, Any]]:
    """Its steps."""
    return json.loads(pathlib.Path(file).read_text())["steps"]
