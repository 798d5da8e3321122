"""Runs ComfyUI's `main.py` and says how long its main thread was in our code: `start_cost.py RESULT PRODUCT MAIN [arguments]`.

A thread looks at the main thread's stack every millisecond. A moment is ours if the nearest frame that is no library's is of our files:
what we have imported and called counts, what ComfyUI does inside a function that we have wrapped does not. Written to RESULT, in
milliseconds, when the web server answers: `ours`, and `whole` since the start.
"""

from __future__ import annotations

import json
import os
import pathlib
import runpy
import sys
import threading
import time

EVERY = 0.001


def is_ours(frame, product, others):
    """Whose moment it is."""
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(product):
            return True
        if file.startswith(others):
            return False
        frame = frame.f_back
    return False


def watch(result, product, others, main_thread):
    """Sample until the server has an address."""
    began = last = time.perf_counter()
    ours = 0.0
    while True:
        time.sleep(EVERY)
        now = time.perf_counter()
        if is_ours(sys._current_frames().get(main_thread), product, others):
            ours += now - last
        last = now
        instance = getattr(getattr(sys.modules.get("server"), "PromptServer", None), "instance", None)
        if getattr(instance, "port", None) is not None:
            break
    fresh = pathlib.Path(f"{result}.new")
    fresh.write_text(json.dumps({"ours": ours * 1000, "whole": (now - began) * 1000}), encoding="utf-8")
    fresh.replace(result)


if __name__ == "__main__":
    result, product, main = sys.argv[1:4]
    sys.argv = sys.argv[3:]
    root = os.path.dirname(os.path.realpath(main))
    sys.path.insert(0, root)
    base = sys.argv[sys.argv.index("--base-directory") + 1]
    shown = os.path.join(base, "custom_nodes", "comfyui-envmanager")  # under this name ComfyUI has imported us
    parts = ("python_shim" + os.sep, "__init__.py", "prestartup_script.py")
    ours = tuple(os.path.join(folder, part) for folder in (product, os.path.realpath(product), shown) for part in parts)
    threading.Thread(target=watch, args=(result, ours, (root + os.sep, base + os.sep), threading.get_ident()), daemon=True).start()
    runpy.run_path(main, run_name="__main__")
