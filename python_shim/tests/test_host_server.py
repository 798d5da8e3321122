"""What a pack finds as ComfyUI's `server` in a worker."""

import pytest

from python_shim.worker.host_server import make_module


def test_a_pack_may_keep_the_queue_and_is_told_when_it_uses_it():
    queue = make_module("/comfyui", None).PromptServer.instance.prompt_queue
    with pytest.raises(RuntimeError, match="switch its isolation off"):
        queue.put((0, "id", {}, {}, []))
    with pytest.raises(RuntimeError, match="isolated node"):
        next(iter(queue.currently_running.values()))


def test_a_server_takes_attributes_of_packs_and_does_not_claim_others():
    server = make_module("/comfyui", None).PromptServer.instance
    assert not hasattr(server, "_my_pack_state")
    server._my_pack_state = {1: 2}
    assert server._my_pack_state == {1: 2}
