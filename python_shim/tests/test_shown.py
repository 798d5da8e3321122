"""What running nodes show: events, progress and previews, out of a worker's process."""

import json
import sys
import time

import pytest

from python_shim.wire.decoder import Decoder


def wait_for(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


@pytest.mark.parametrize("straight", [True, False])
def test_an_event_with_much_data_crosses(worker, straight):
    data = {"points": [[number, str(number)] for number in range(100_000)]}
    if straight:
        worker.run("Send", {"data": data})
    else:
        worker.start("Send", {"data": data}, straight=False)
        worker.ask({})
    (event,) = worker.shown("event")
    text = Decoder(worker.mapped, lambda tag: tag).decode(event["data"])
    assert event["packed"] and Decoder(worker.mapped, lambda tag: tag).decode(json.loads(text)) == data


@pytest.mark.parametrize(("sid", "sent"), [(12345, "12345"), ("tab", "tab"), (None, None), (["a"], "['a']")])
def test_whom_an_event_is_for_may_be_anything(worker, sid, sent):
    assert worker.run("Send", {"data": {"a": 1}, "sid": sid}) == "sent"
    assert worker.shown("event")[0]["sid"] == sent


def test_the_name_of_an_event_may_be_anything_that_is_short(worker):
    for name, sent in ((True, 1), (3, 3), (-1, "-1"), (1 << 60, str(1 << 60)), (None, "None"), (1.5, "1.5")):
        worker.notes.clear()
        assert worker.run("Send", {"event": name}) == "sent"
        assert worker.shown("event")[0]["event"] == sent
    assert worker.run("Send", {"event": "x" * 2_000_000}) == "NODE_RAISED"
    assert worker.run("Send") == "sent"


def test_progress_that_is_no_number_is_not_shown(worker):
    assert worker.run("Steps", {"values": [1, float("nan"), float("inf")]}) == "done"
    assert [note["value"] for note in worker.shown("progress")] == [1.0, 10.0]


def test_the_servers_loop_runs_for_packs_without_routes(worker):
    assert worker.run("OnLoop") == "envmanager-side"


@pytest.mark.parametrize(("straight", "side"), [(True, 512), (False, 512), (True, 32)])
def test_of_previews_that_nobody_looks_at_a_few_are_kept_and_the_newest_comes_last(worker, tmp_path, straight, side):
    number = worker.start("Previews", {"count": 30, "side": side}, straight=straight)
    worker.wait(number) if straight else worker.ask({})
    pictures = [note["preview"] for note in worker.shown("progress") if "preview" in note]
    assert 1 <= len(pictures) <= 4
    # those are looked at: from then on there is room again
    leases = [Decoder(worker.mapped, lambda tag: tag).decode(picture) and picture[1]["v"][2]["segment"]["lease"] for picture in pictures]
    worker.notes.clear()
    pause = tmp_path / "paused"
    number = worker.start("Previews", {"count": 30, "side": side, "pause": str(pause), "after": 15})
    wait_for(pause.exists)
    worker.tell("lease.release", leases=leases)
    pause.unlink()
    assert worker.wait(number) == "done"
    shown = worker.shown("progress")
    assert [note["value"] for note in shown] == sorted(note["value"] for note in shown)
    worker.notes.clear()
    number = worker.start("Previews", {"count": 60, "side": side, "pause": str(pause), "after": 40})
    wait_for(pause.exists)
    worker.read_notes(4)
    early = [note["preview"] for note in worker.shown("progress")]
    worker.notes.clear()
    worker.tell("lease.release", leases=[early[0][1]["v"][2]["segment"]["lease"]])
    worker.read_notes(1)
    pause.unlink()
    worker.wait(number)
    assert worker.shown("progress")[0]["value"] == 40  # the newest of that time, not the fifth
