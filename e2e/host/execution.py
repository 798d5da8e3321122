"""Runs prompts: one thread, one event loop for each prompt, async nodes beside each other, as ComfyUI's executor does."""

import asyncio
import inspect
import threading
import time
import traceback

import nodes
import torch
from comfy import model_management
from comfy_execution.graph_utils import ExecutionBlocker
from comfy_execution.utils import running_node


def full_name(kind):
    """Class name with its module, built-ins without."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def is_link(value):
    """Whether an input is another node's output: `[node, index]`."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)


def validate(prompt):
    """Problems that keep a prompt from being queued: None, or a message."""
    for number, node in prompt.items():
        if node["class_type"] not in nodes.NODE_CLASS_MAPPINGS:
            return f"Node {number}: there is no node class {node['class_type']}."
    if not any(getattr(nodes.NODE_CLASS_MAPPINGS[node["class_type"]], "OUTPUT_NODE", False) for node in prompt.values()):
        return "Prompt has no outputs"
    return None


class Executor:
    """Keeps node instances between prompts, by node id and class."""

    def __init__(self, send):
        self._send, self._instances = send, {}
        self.history = {}
        self._queue, self._ready = [], threading.Condition()
        threading.Thread(target=self._run, name="prompt_worker", daemon=True).start()

    def put(self, prompt_id, prompt, client):
        """Queue a prompt."""
        with self._ready:
            self._queue.append((prompt_id, prompt, client))
            self._ready.notify()

    def pending(self):
        """Number of waiting prompts."""
        return len(self._queue)

    def _run(self):
        while True:
            with self._ready:
                self._ready.wait_for(lambda: self._queue)
                prompt_id, prompt, client = self._queue.pop(0)
            with torch.inference_mode():
                asyncio.run(self._execute(prompt_id, prompt, client))

    async def _execute(self, prompt_id, prompt, client):
        model_management.interrupt_current_processing(False)
        stamp = {"prompt_id": prompt_id, "timestamp": int(time.time() * 1000)}
        self._send("execution_start", stamp, client)
        self._send("execution_cached", {"nodes": [], **stamp}, client)
        results, shown, tasks = {}, {}, {}
        try:
            while len(results) < len(prompt):
                for number in prompt:
                    waits = [link[0] for link in prompt[number]["inputs"].values() if is_link(link)]
                    if number not in tasks and all(source in results for source in waits):
                        tasks[number] = asyncio.ensure_future(self._node(prompt_id, number, prompt, results, client))
                running = {task for number, task in tasks.items() if number not in results}
                await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for number, task in tasks.items():
                    if number not in results and task.done():
                        results[number], shown[number] = task.result()
        except model_management.InterruptProcessingException:
            self._finish(prompt_id, client, shown, "execution_interrupted", {"node_id": None, "node_type": "", "executed": []})
        except Exception as error:
            self._finish(prompt_id, client, shown, "execution_error", self._describe(error, prompt, tasks))
        else:
            self._finish(prompt_id, client, shown, "execution_success", {})
        finally:
            for task in tasks.values():
                task.cancel()

    def _describe(self, error, prompt, tasks):
        number = next((n for n, task in tasks.items() if task.done() and not task.cancelled() and task.exception() is error), "?")
        return {
            "node_id": number,
            "node_type": prompt.get(number, {}).get("class_type", ""),
            "executed": [],
            "exception_message": str(error),
            "exception_type": full_name(type(error)),
            "traceback": traceback.format_tb(error.__traceback__),
            "current_inputs": {},
            "current_outputs": [],
        }

    def _finish(self, prompt_id, client, shown, event, data):
        outputs = {number: ui for number, ui in shown.items() if ui}
        failed = event != "execution_success"
        message = [event, {"prompt_id": prompt_id, **data}]
        status = {"status_str": "error" if failed else "success", "completed": not failed, "messages": [message]}
        self.history[prompt_id] = {"outputs": outputs, "status": status}
        self._send(event, {"prompt_id": prompt_id, "timestamp": int(time.time() * 1000), **data}, client)
        self._send("executing", {"node": None, "prompt_id": prompt_id}, client)
        self._send("status", {"status": {"exec_info": {"queue_remaining": self.pending()}}}, client)

    async def _node(self, prompt_id, number, prompt, results, client):
        node = prompt[number]
        cls = nodes.NODE_CLASS_MAPPINGS[node["class_type"]]
        inputs, known = {}, {name for section in cls.INPUT_TYPES().values() for name in section}
        for name, value in node["inputs"].items():
            if not is_link(value) and name not in known:
                continue  # a widget of the frontend's own
            inputs[name] = results[value[0]][value[1]] if is_link(value) else value
        if any(isinstance(value, ExecutionBlocker) for value in inputs.values()):
            return (ExecutionBlocker(None),) * max(1, len(cls.RETURN_TYPES)), None
        hidden = cls.INPUT_TYPES().get("hidden", {})
        inputs.update({name: number for name, kind in hidden.items() if kind == "UNIQUE_ID"})
        self._send("executing", {"node": number, "display_node": number, "prompt_id": prompt_id}, client)
        nodes.before_node_execution()
        instance = self._instances.setdefault((number, node["class_type"]), None) or cls()
        self._instances[number, node["class_type"]] = instance
        with running_node(prompt_id, number):
            result = getattr(instance, cls.FUNCTION)(**inputs)
            if inspect.isawaitable(result):
                result = await result
        ui = result.get("ui") if isinstance(result, dict) else None
        if ui:
            self._send("executed", {"node": number, "display_node": number, "output": ui, "prompt_id": prompt_id}, client)
        return (result.get("result", ()) if isinstance(result, dict) else result), ui
