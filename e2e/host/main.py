"""`python main.py --base-directory DIR --front-end-root DIR [--port N]`: the test host, with ComfyUI's order of events."""

import argparse
import asyncio
import importlib.util
import logging
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import folder_paths  # noqa: E402 - after the path is set, and before anything else, as in ComfyUI

parser = argparse.ArgumentParser()
parser.add_argument("--base-directory", required=True)
parser.add_argument("--front-end-root", required=True)
parser.add_argument("--port", type=int, default=0)
parser.add_argument("--cache-classic", action="store_true")  # which it does anyway
parser.add_argument("--cache-none", action="store_true")
parser.add_argument("--cache-lru", type=int, default=0)
args = parser.parse_args()
logging.basicConfig(level=logging.INFO, format="%(message)s")


def run_prestartup_scripts():
    """Before torch, nodes and server are imported."""
    for root in folder_paths.get_folder_paths("custom_nodes"):
        for name in os.listdir(root):
            script = os.path.join(root, name, "prestartup_script.py")
            if os.path.isfile(script):
                spec = importlib.util.spec_from_file_location(os.path.splitext(script)[0], script)
                spec.loader.exec_module(importlib.util.module_from_spec(spec))


async def serve():
    """Load the packs, then serve until the process is ended."""
    import nodes
    import server
    from aiohttp import web
    from comfy import model_management, utils
    from comfy_execution.utils import get_executing_context

    loop = asyncio.get_running_loop()
    cache = "none" if args.cache_none else "lru" if args.cache_lru else "classic"
    host = server.PromptServer(loop, args.front_end_root, cache, args.cache_lru)

    def progress(value, total, preview, node_id=None):
        model_management.throw_exception_if_processing_interrupted()
        current = get_executing_context()
        node = node_id or (current and current.node_id)
        host.send_sync("progress", {"value": value, "max": total, "node": node, "prompt_id": current and current.prompt_id})

    utils.set_progress_bar_global_hook(progress)
    await nodes.load_all_custom_nodes()
    host.add_routes()
    runner = web.AppRunner(host.app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", args.port)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]
    host.address, host.port = "127.0.0.1", port
    print(f"To see the GUI go to: http://127.0.0.1:{port}", flush=True)
    await asyncio.Event().wait()


run_prestartup_scripts()
try:
    asyncio.run(serve())
except KeyboardInterrupt:
    pass
