"""Finding Node: the user's word, PATH, or the one that came through pip."""

import pytest

from python_shim.shim import places


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


def test_an_old_node_on_path_is_passed_over(nothing, tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    for path, version in ((old, "v20.20.2"), (new, "v24.1.0")):
        path.write_text(f"#!/bin/sh\necho {version}\n")
        path.chmod(0o755)
    nothing.setattr(places.shutil, "which", lambda name: str(old))
    nothing.setattr(places, "_bundled_node", lambda: str(new))
    assert places.find_node() == str(new)
    nothing.setenv("COMFY_ENV_NODE", str(old))
    assert isinstance(places.find_node(), places.Missing)
