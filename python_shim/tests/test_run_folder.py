"""Where what ends with a bridge lies."""

import os
import pathlib

import pytest

from python_shim.shim import run_folder as module
from python_shim.shim.run_folder import run_folder


def test_it_lies_in_the_home(tmp_path):
    assert run_folder(tmp_path / "home") == tmp_path / "home" / "run"
    assert list((tmp_path / "home" / "run").iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="rights of Unix")
def test_where_a_home_cannot_be_written_it_lies_in_a_folder_that_is_only_ours(tmp_path, monkeypatch):
    home, system = tmp_path / "home", tmp_path / "system"
    home.write_text("no folder")
    system.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(system))
    found = run_folder(home)
    assert found.parent == system and found == run_folder(home) != run_folder(tmp_path / "home" / "other")
    assert found.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.name == "nt", reason="links of Unix")
def test_a_folder_that_is_a_link_is_not_taken(tmp_path, monkeypatch):
    home, system = tmp_path / "home", tmp_path / "system"
    home.write_text("no folder")
    system.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(system))
    monkeypatch.setattr(module.tempfile, "gettempdir", lambda: str(tmp_path / "temp"))
    first = run_folder(home)
    first.rmdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    first.symlink_to(elsewhere)
    assert run_folder(home) == pathlib.Path(tmp_path, "temp", first.name)
    assert list(elsewhere.iterdir()) == []
