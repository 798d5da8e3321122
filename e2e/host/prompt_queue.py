"""Prompts that wait, the thread that runs them (`main.py`, prompt_worker), and what became of them."""

import threading

from execution import PromptExecutor


class PromptQueue:
    """One prompt runs at a time. As in ComfyUI, an error outside of nodes ends the thread, and nothing runs any more."""

    def __init__(self, server, cache="classic", most=0):
        self._server, self._executor = server, PromptExecutor(server, cache, most)
        self.queue, self.currently_running, self.history = [], {}, {}
        self._flags, self._ready = {}, threading.Condition()
        threading.Thread(target=self._run, name="prompt_worker", daemon=True).start()

    def put(self, item):
        """`(number, prompt id, prompt, extra data, outputs)`."""
        with self._ready:
            self.queue.append(item)
            self._ready.notify()

    def set_flag(self, name, value):
        """Something to do between prompts: free_memory, unload_models."""
        with self._ready:
            self._flags[name] = value
            self._ready.notify()

    def _run(self):
        while True:
            with self._ready:
                self._ready.wait_for(lambda: self.queue or self._flags)
                item = self.queue.pop(0) if self.queue else None
                if item is not None:
                    self.currently_running[item[0]] = item
            if item is not None:
                self._one(item)
            with self._ready:
                flags, self._flags = self._flags, {}
            self._free(flags)

    def _one(self, item):
        number, prompt_id, prompt, extra_data, outputs = item
        executor = self._executor
        executor.execute(prompt, prompt_id, extra_data, outputs)
        text = "success" if executor.success else "error"
        status = {"status_str": text, "completed": executor.success, "messages": executor.status_messages}
        with self._ready:
            del self.currently_running[number]
            self.history[prompt_id] = {"prompt": item, "outputs": executor.history_result["outputs"], "status": status}
        self._server.send_sync("status", {"status": {"exec_info": {"queue_remaining": len(self.queue)}}})
        self._server.send_sync("executing", {"node": None, "prompt_id": prompt_id}, self._server.client_id)

    def _free(self, flags):
        import comfy.model_management

        if flags.get("unload_models") or flags.get("free_memory"):
            comfy.model_management.unload_all_models()
        if flags.get("free_memory"):
            self._executor.reset()
