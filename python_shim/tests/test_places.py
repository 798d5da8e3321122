"""Finding Node: the user's word, PATH, or the one that came through pip."""

import ctypes
import sys
import threading
import time
import types

import pytest

from python_shim.shim import places

needs_shell = pytest.mark.skipif(sys.platform == "win32", reason="the programs here are shell scripts: not on Windows")


def program(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def nothing(monkeypatch):
    monkeypatch.delenv("COMFY_ENV_NODE", raising=False)
    monkeypatch.setattr(places.shutil, "which", lambda name: None)
    monkeypatch.setattr(places, "_bundled_node", lambda: None)
    return monkeypatch


def test_without_node_the_user_is_told_what_to_install(nothing):
    found = places.find_node()
    assert isinstance(found, places.Missing)
    assert "was not found" in found.message and "-m pip install -r" in found.hint


@needs_shell
def test_an_old_node_on_path_is_passed_over(nothing, tmp_path):
    old, new = program(tmp_path / "old", "echo v20.20.2"), program(tmp_path / "new", "echo v24.1.0")
    nothing.setattr(places.shutil, "which", lambda name: old)
    nothing.setattr(places, "_bundled_node", lambda: new)
    assert places.find_node() == new
    nothing.setenv("COMFY_ENV_NODE", old)
    assert isinstance(places.find_node(), places.Missing)


@needs_shell
def test_node_is_found_though_no_thread_ran_until_its_time_was_up(nothing, tmp_path):
    asked = tmp_path / "asked"
    nothing.setenv("COMFY_ENV_NODE", program(tmp_path / "node", f"touch {asked}\necho v24.1.0"))
    nothing.setattr(places, "PATIENCE", 0.5)
    found = []
    finding = threading.Thread(target=lambda: found.append(places.find_node()))
    finding.start()
    while not asked.exists():
        time.sleep(0)
    ctypes.PyDLL(None).usleep(900_000)  # keeps Python's lock, as the loading of a library does
    finding.join()
    assert found == [str(tmp_path / "node")]


@needs_shell
def test_a_node_that_hangs_is_ended_and_passed_over(nothing, tmp_path):
    nothing.setenv("COMFY_ENV_NODE", program(tmp_path / "node", "exec sleep 1000"))
    nothing.setattr(places, "PATIENCE", 0.2)
    assert isinstance(places.find_node(), places.Missing)


def test_paths_that_a_user_wrote_are_the_bridge_s_paths(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("COMFY_ENV_HOME", "~/a/../envs")
    monkeypatch.setenv("COMFY_ENV_CACHE", "downloads")
    assert places.home() == tmp_path / "envs"
    started = places.cache()
    assert started is not None and started.is_absolute() and started.name == "downloads"
    monkeypatch.chdir(tmp_path)  # a pack goes elsewhere
    assert places.cache() == started
    monkeypatch.delenv("COMFY_ENV_CACHE")
    assert places.cache() is None


def test_a_user_without_a_folder_keeps_the_tilde(monkeypatch):
    monkeypatch.setattr(places.os.path, "expanduser", lambda path: path)  # no HOME, and a user whom the system does not know
    monkeypatch.setenv("COMFY_ENV_HOME", "~/envs")
    assert places.home().parts[-2:] == ("~", "envs")


def test_a_home_is_ours_once_it_is_marked_and_its_files_lie_in_it(tmp_path):
    assert not places.is_ours(tmp_path)
    (tmp_path / places.MARK).write_text("{}")
    assert places.is_ours(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "elsewhere")
    assert not places.is_ours(tmp_path)


@pytest.mark.parametrize(("option", "folder"), [(None, "/base/temp"), ("/scratch", "/scratch/temp")])
def test_the_folder_that_comfyui_empties_is_the_one_that_its_option_names(monkeypatch, option, folder):
    monkeypatch.setitem(sys.modules, "folder_paths", types.SimpleNamespace(get_temp_directory=lambda: "/base/temp"))
    monkeypatch.setitem(sys.modules, "comfy.cli_args", types.SimpleNamespace(args=types.SimpleNamespace(temp_directory=option)))
    assert places.temp() == folder
