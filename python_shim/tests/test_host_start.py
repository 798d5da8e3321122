"""What a worker does of ComfyUI's `main.py`. The modules of ComfyUI and of comfy-aimdo are stand-ins that write down how they were called:
the real ones need a GPU."""

import json
import os

import pytest

from python_shim.tests.worker_process import Worker

CALLS = """
calls = []
def note(name, answer=None):
    def called(*args, **kwargs):
        calls.append([name, *([each] if isinstance(each, (int, str)) else list(each) for each in args), kwargs])
        return answer
    return called
"""
STAND_INS = {
    "calls.py": CALLS,
    "comfy/__init__.py": "",
    "comfy/options.py": "def enable_args_parsing(): pass",
    "comfy/cli_args.py": """
import argparse, sys
parser = argparse.ArgumentParser()
parser.add_argument("--base-directory")
for name in ("reserve-vram", "vram-headroom"): parser.add_argument(f"--{name}", type=float, default=None if name == "reserve-vram" else 0)
FLAGS = "disable-nvml-pressure enable-dynamic-vram enable-manager use-sage-attention use-flash-attention"
for name in FLAGS.split(): parser.add_argument(f"--{name}", action="store_true")
parser.add_argument("--verbose", default="INFO")
args = parser.parse_args()
get_console_log_level = lambda level: level
""",
    "comfy/internal_logging.py": "import logging; logging.addLevelName(15, 'DETAIL')",
    "comfy/memory_management.py": "aimdo_enabled = False",
    "comfy/model_management.py": """
import calls, types
torch_version_numeric = (2, 9)
get_all_torch_devices = lambda: [types.SimpleNamespace(index=0), types.SimpleNamespace(index=1)]
reset_cast_buffers = calls.note("reset_cast_buffers")
set_cudnn_benchmark = calls.note("set_cudnn_benchmark")
processing_interrupted = lambda: False
def cast_to(): return "ComfyUI's"
""",
    "comfy/model_patcher.py": """
import calls, comfy.model_management
class ModelPatcher: pass
class ModelPatcherDynamic(ModelPatcher): pass
CoreModelPatcher = ModelPatcher
class PromptModelTracker:
    start, end = lambda self: calls.calls.append(["start"]), lambda self: calls.calls.append(["end"])
    def add(self, values):
        calls.calls.append(["add", [type(each).__name__ for each in (values.values() if isinstance(values, dict) else values)]])
""",
    "comfy/model_prefetch.py": "import calls; cleanup_prefetch_queues = calls.note('cleanup_prefetch_queues')",
    "comfy_aimdo/__init__.py": "",
    "comfy_aimdo/model_vbar.py": "import calls; vbars_reset_watermark_limits = calls.note('vbars_reset_watermark_limits')",
    "comfy_aimdo/control.py": """
import sys, calls
def init(simple_vram_headroom=None, nvml_pressure=None):
    calls.calls.append(["init", simple_vram_headroom, nvml_pressure, "torch" in sys.modules])
init_devices = calls.note("init_devices", True)
analyze, set_log_debug, set_log_info = calls.note("analyze"), calls.note("set_log_debug"), calls.note("set_log_info")
""",
    "hook_breaker_ac10a0.py": """
import comfy.model_management
kept = []
def save_functions(): kept.append(comfy.model_management.cast_to)
def restore_functions(): comfy.model_management.cast_to = kept[0]
""",
}
PACK = """
import json, sys
import comfy.model_management, comfy.model_patcher, comfy.memory_management

class Model: pass

class Told:
    RETURN_TYPES, FUNCTION = ("STRING", "MODEL"), "run"
    INPUT_TYPES = classmethod(lambda cls: {"required": {"number": ("INT", {})}})
    def run(self, number=0):
        calls = list(sys.modules["calls"].calls)
        sys.modules["calls"].calls.clear()
        on = [comfy.memory_management.aimdo_enabled, comfy.model_patcher.CoreModelPatcher.__name__]
        args = vars(sys.modules["comfy.cli_args"].args)
        return json.dumps({"on": on, "cast": comfy.model_management.cast_to(), "calls": calls, "args": args}), Model()
comfy.model_management.cast_to = lambda: "the pack's"
NODE_CLASS_MAPPINGS = {"Told": Told}
"""
CLEAN_UP = [[name, {}] for name in ("reset_cast_buffers", "cleanup_prefetch_queues", "vbars_reset_watermark_limits")]


@pytest.fixture
def start(tmp_path):
    """Starts a worker of a ComfyUI of stand-ins, some of them other ones."""
    open_ones = []

    def begin(*argv, dynamic_vram=True, others=None, pack=PACK):
        for name, text in {**STAND_INS, **(others or {})}.items():
            file = tmp_path / "root" / name
            if text is not None:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
        (tmp_path / "base").mkdir()
        started = {"environment": {}, "dynamic_vram": dynamic_vram}
        made = Worker(tmp_path / "base", pack, tmp_path / "root", argv, started=started)
        open_ones.append(made)
        return made

    yield begin
    for made in open_ones:
        made.close()
        os.close(made.answers)


def told(worker, **call):
    return json.loads(worker.run("Told", {"number": 1}, **call)[0])


def log_of(worker):
    worker.end()
    return worker.process.stderr.read().decode()


def test_dynamic_vram_is_switched_on_as_main_py_does_it(start):
    worker = start("--reserve-vram", "1.5", "--vram-headroom", "0.5", "--disable-nvml-pressure", pack="import torch" + PACK)
    said = told(worker)
    assert said["on"] == [True, "ModelPatcherDynamic"]
    half = 1 << 29
    assert said["calls"][:3] == [["init", 3 * half, False, False], ["init_devices", [[0, half], [1, half]], {}], ["set_log_info", {}]]


def test_after_each_node_and_at_the_end_of_its_prompt_comes_what_the_executor_does(start):
    worker = start("--verbose", "DEBUG")
    told(worker, prompt="one")
    assert told(worker, prompt="one")["calls"] == [["analyze", {}], *CLEAN_UP, ["add", ["str", "Model"]], ["add", ["int"]]]
    worker.tell("prompt.ended", prompt="one")
    calls = told(worker, prompt="two")["calls"]
    assert [name for name, *_ in calls if name in ("start", "end", "add")] in (["add", "end", "start", "add"], ["add", "start", "add"])


OLDER = """
import calls
def init(**more):
    if more: raise TypeError("unexpected keyword argument")
    calls.calls.append(["init"])
def init_devices(devices):
    known = list(devices)
    if not all(isinstance(each, int) for each in known): raise TypeError("an integer is required")
    calls.calls.append(["init_devices", known])
    return True
set_log_info = calls.note("set_log_info")
"""


def test_older_versions_of_comfy_aimdo_are_asked_as_they_can_answer(start):
    said = told(start(others={"comfy_aimdo/control.py": OLDER}))
    assert said["on"] == [True, "ModelPatcherDynamic"]
    assert said["calls"][:2] == [["init"], ["init_devices", [0, 1]]]


def test_where_comfyui_has_it_off_nothing_of_it_is_called(start):
    said = told(start(dynamic_vram=False))
    assert said["on"] == [False, "ModelPatcher"]
    assert [name for name, *_ in said["calls"]] == ["set_cudnn_benchmark"]


def with_other(name, old, new):
    return {name: STAND_INS[name].replace(old, new)}


FAILURES = {
    "OSError: no driver": {"comfy_aimdo/control.py": "def init(**more): raise OSError('no driver')"},
    "No module named 'comfy_aimdo'": dict.fromkeys(name for name in STAND_INS if name.startswith("comfy_aimdo/")),
    "cannot use the GPU": with_other("comfy_aimdo/control.py", '"init_devices", True', '"init_devices", False'),
    "torch (2, 7)": with_other("comfy/model_management.py", "(2, 9)", "(2, 7)"),
    "AttributeError": with_other("comfy/model_patcher.py", "ModelPatcherDynamic", "Another"),
}


@pytest.mark.parametrize("why", FAILURES)
def test_what_goes_wrong_is_a_sentence_in_the_log_and_the_worker_goes_on_without(start, why):
    worker = start(others=FAILURES[why])
    assert told(worker)["on"] == [False, "ModelPatcher"]
    said = [line for line in log_of(worker).splitlines() if "Dynamic VRAM" in line]
    assert len(said) == 1 and "off in this worker" in said[0] and why in said[0]


def test_what_fails_after_a_node_is_said_once_and_the_node_has_run(start):
    worker = start(others={"comfy/model_prefetch.py": "def cleanup_prefetch_queues(): raise RuntimeError('lost')"})
    for _ in range(3):
        assert told(worker)["on"] == [True, "ModelPatcherDynamic"]
    assert log_of(worker).count("RuntimeError: lost") == 1


def test_comfyui_s_functions_and_torch_s_benchmark_are_put_back_after_the_import_of_a_pack(start):
    said = told(start(dynamic_vram=False))
    assert said["cast"] == "ComfyUI's" and said["calls"] == [["set_cudnn_benchmark", {}]]


def test_the_manager_is_comfyui_s_own(start):
    assert told(start("--enable-manager", dynamic_vram=False))["args"]["enable_manager"] is False


def test_attention_whose_package_an_environment_lacks_is_off_there_and_said(start):
    worker = start("--use-sage-attention", "--use-flash-attention", dynamic_vram=False, others={"sageattention.py": ""})
    args = told(worker)["args"]
    assert (args["use_sage_attention"], args["use_flash_attention"]) == (True, False)
    assert "--use-flash-attention is off in this worker: its environment has no flash_attn." in log_of(worker)
