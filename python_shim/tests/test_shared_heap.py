"""Results that are born in shared memory. Each case is a process of its own, with glibc told what a worker's is."""

import json
import os
import pathlib
import platform
import subprocess
import sys
import sysconfig

import pytest

from python_shim.wire.shared_heap import NEEDED

PROGRAM = pathlib.Path(__file__).with_name("heap_program.py")
pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")


def run(case, python=sys.executable, **variables):
    keeps = {"MALLOC_MMAP_THRESHOLD_": "8589934592", "MALLOC_TRIM_THRESHOLD_": "17179869184", "MALLOC_TOP_PAD_": "67108864"}
    env = {**os.environ, **keeps, "GLIBC_TUNABLES": NEEDED, **variables}
    done = subprocess.run([python, str(PROGRAM), case], env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_results_of_a_size_are_not_copied_once_there_was_one():
    assert run("steady") == {"copied_late": 0, "leased": 0}


def fixed_python():
    """The system's own Python of this version, if it is linked to a fixed address, as Debian's and Ubuntu's are."""
    found = pathlib.Path(f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}")
    return str(found) if found.is_file() and found.read_bytes()[16:18] == b"\2\0" else None  # e_type ET_EXEC (`man 5 elf`)


@pytest.mark.skipif(fixed_python() is None, reason="needs a Python of this version in /usr/bin that is linked to a fixed address")
def test_the_same_on_the_python_of_a_distribution():
    assert run("steady", fixed_python(), PYTHONPATH=sysconfig.get_path("purelib")) == {"copied_late": 0, "leased": 0}


def test_what_the_worker_can_still_write_into_is_copied():
    assert run("kept") == {"node": [True, 3, 3], "view": [True, 3, 3], "numpy_view": [True, 3, 3]}


def test_memory_of_numpy_is_copied():
    assert run("foreign") == {"shared": True, "as_expected": True}


def test_what_comfyui_writes_is_its_own_and_the_next_result_is_whole():
    assert run("written") == {"sums": [[i, 77] for i in range(1, 9)]}


def test_results_that_are_kept_stay_what_they_were():
    assert run("held") == {"held": [[i, i] for i in range(10)]}


def test_after_a_fork_both_processes_have_a_heap_of_their_own():
    assert run("fork") == {"copied": False, "child": "3000", "values": [5, 5, 1, 1, 1, 6], "after": True, "on": False}


def test_an_idle_worker_gives_the_memory_back():
    found = run("idle")
    # one block may stay: where small things have moved in depends on what else the process has loaded
    assert found["used"] > 20_000 and found["left"] < found["used"] // 4


def test_sizes_at_random_are_right_and_seldom_copied():
    found = run("mixed")
    assert found["wrong"] == 0 and found["copies"] < 200


def test_without_glibcs_setting_everything_is_copied_and_right():
    assert run("held", GLIBC_TUNABLES="")["held"] == [[i, i] for i in range(10)]
