"""What the processes of workers print."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from typing import Any

from ._package import part

#: Bytes of a line: what follows, up to its end, nobody reads.
_LONGEST = 1 << 16
#: Colours of a terminal, which are of no use where its other sequences are spelled out.
_COLOURS = re.compile(r"\x1b\[[0-9;:]*m")


def _lines(stream: Any) -> Iterator[bytes]:
    """Each line, of a long one the beginning: one without an end takes no more memory."""
    cut = False
    while piece := stream.readline(_LONGEST):
        if not cut:
            yield piece
        cut = not piece.endswith(b"\n")


def listen(stream: Any, said: Any, name: str) -> None:
    """Keep what a worker prints in `said`, and print it here under its name, until it ends."""
    quiet = os.environ.get("COMFYUI_ISOLATION_QUIET") == "1"
    printable = part("wire.errors").printable
    for line in _lines(stream):
        text = line.decode("utf-8", "replace").rstrip()
        said.append(text)
        if not quiet:
            print(f"[{name}] {printable(_COLOURS.sub('', text))}", file=sys.stderr)
    stream.close()
