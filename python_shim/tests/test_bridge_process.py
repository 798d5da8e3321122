"""How often a bridge that dies is started again, and a home that cannot be ours."""

import sys

import pytest

from python_shim.shim import bridge_process, places


@pytest.fixture
def bridge(tmp_path, monkeypatch):
    """A bridge that dies at once; `seen` has each of its starts, each pause and each status."""
    monkeypatch.delenv("COMFY_ENV_BRIDGE_DEATHS", raising=False)
    monkeypatch.setattr(places, "built", lambda: None)
    monkeypatch.setattr(places, "find_node", lambda: "node")
    made = bridge_process.BridgeProcess(tmp_path, "", lambda: None, lambda: None)
    made.seen = {"starts": 0, "pauses": []}

    def serve(node):
        made.seen["starts"] += 1
        return "It fell over."

    monkeypatch.setattr(made, "_serve", serve)
    monkeypatch.setattr(made, "_refusal", lambda node: None)
    monkeypatch.setattr(bridge_process.time, "sleep", made.seen["pauses"].append)
    return made


def test_a_bridge_that_dies_four_times_in_five_minutes_stays_down(bridge):
    bridge._run()
    assert bridge.seen == {"starts": 4, "pauses": [0.5, 1.0, 2.0]}
    assert bridge.status[:2] == ("failed", "The bridge ended 4 times. It fell over.")


def test_the_user_says_how_many_deaths_leave_it_down(bridge, monkeypatch):
    monkeypatch.setenv("COMFY_ENV_BRIDGE_DEATHS", "1500")
    bridge._run()
    assert bridge.seen["starts"] == 1500
    assert max(bridge.seen["pauses"]) == 2.0
    assert bridge.status[1] == "The bridge ended 1500 times. It fell over."


@pytest.mark.parametrize("word", ["0", "-1", "four", "4.5", "¹", " 4", "1" * 5000])
def test_a_number_of_deaths_that_is_none_is_refused(bridge, monkeypatch, word):
    monkeypatch.setenv("COMFY_ENV_BRIDGE_DEATHS", word)
    bridge._run()
    assert bridge.seen["starts"] == 0
    status, message, hint = bridge.status
    assert status == "failed" and message.startswith("COMFY_ENV_BRIDGE_DEATHS is") and "whole number" in message
    assert hint == "Correct it or remove it, then restart ComfyUI."


def asking(tmp_path, monkeypatch, program):
    """A bridge process whose bridge is a Python program."""
    bridge = tmp_path / "bridge.py"
    bridge.write_text(program)
    monkeypatch.setattr(places, "BRIDGE", bridge)
    monkeypatch.setattr(places, "built", lambda: None)
    monkeypatch.setattr(places, "find_node", lambda: sys.executable)
    monkeypatch.setattr(bridge_process.time, "sleep", lambda seconds: None)
    monkeypatch.delenv("COMFY_ENV_BRIDGE_DEATHS", raising=False)
    home = tmp_path / "home"
    home.mkdir()
    return bridge_process.BridgeProcess(home, "", lambda: None, lambda: None)


def test_nothing_is_made_in_a_home_that_the_bridge_refuses_and_the_user_hears_why(tmp_path, monkeypatch):
    answer = '{"error": {"code": "NOT_OURS", "message": "It is not ours.", "hint": "Name another.", "details": {}}}'
    made = asking(tmp_path, monkeypatch, f"import sys; assert sys.argv[1] == 'home'; print('{answer}')")
    made._run()
    assert made.status == ("failed", "It is not ours.", "Name another.")
    assert list(made.home.iterdir()) == []


def test_a_bridge_that_does_not_say_whether_the_home_is_ours_is_tried_again_and_nothing_is_made(tmp_path, monkeypatch):
    made = asking(tmp_path, monkeypatch, "raise SystemExit('It fell over.')")
    made._run()
    assert made.status[:2] == ("failed", "The bridge ended 4 times. It fell over.")
    assert list(made.home.iterdir()) == []


def test_a_home_that_is_ours_already_is_not_asked_about(tmp_path, monkeypatch):
    made = asking(tmp_path, monkeypatch, "raise SystemExit('asked')")
    (made.home / places.MARK).write_text("{}")
    assert made._refusal(sys.executable) is None


def test_the_bridge_hears_which_folders_its_comfyui_has(tmp_path, monkeypatch):
    monkeypatch.setenv("COMFY_ENV_BASE", "of another ComfyUI")
    monkeypatch.setenv("COMFY_ENV_TEMP", "of another ComfyUI")
    made = [bridge_process.BridgeProcess(tmp_path, "/code", lambda: None, lambda: None, *more) for more in [(), ("/base", "/temp")]]
    told = [[one._environment()[name] for name in ("COMFY_ENV_BASE", "COMFY_ENV_TEMP")] for one in made]
    assert told == [["/code", ""], ["/base", "/temp"]]
