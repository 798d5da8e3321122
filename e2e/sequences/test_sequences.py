"""Random sequences of everything that users and the system do, against a real ComfyUI (the test host), bridge and workers.

`pytest e2e/sequences`: a few short ones, always the same. `SEQUENCES=500`: so many, longer ones, by `SEQUENCE_SEED` or a new seed.
`SEQUENCE_REPLAY=file`: the steps of a file that a failure has left, `SEQUENCE_TIMES` times; `SEQUENCE_WHOLE=1`: after all that came before
them on the same ComfyUI. `SEQUENCE_ALLOW`: a regular expression of errors, and of what is left, to look past.
"""

from __future__ import annotations

import os
import secrets
import time
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from e2e.sequences import replay_file, settled
from e2e.sequences.counted import naming
from e2e.sequences.driver import ROOT, wait_for
from e2e.sequences.model import PACKS, SET_APART
from e2e.sequences.steps import Subject

LONG = int(os.environ.get("SEQUENCES", "0"))
SEED = int(os.environ.get("SEQUENCE_SEED", "0")) or (secrets.randbelow(1 << 32) if LONG else 1)
REPLAY = os.environ.get("SEQUENCE_REPLAY")
TIMES = int(os.environ.get("SEQUENCE_TIMES", "1"))
#: The short run begins no new sequence after so many seconds: it has its place among quick tests.
SHORT_SECONDS = 30.0
#: After so many sequences that have failed the others would tell no more.
MOST_FAILURES = 20 if LONG else 1

pytestmark = [
    pytest.mark.skipif(not (ROOT / "bridge" / "dist" / "comfy-env.mjs").exists(), reason="bridge/dist is not built: npm run build"),
    pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts by Linux' /proc"),
]

packs = st.sampled_from(PACKS)
sleeps = st.fixed_dictionaries({"pack": packs, "seconds": st.sampled_from((0.05, 0.2, 0.5)), "polite": st.booleans()})


def specs(sleep: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Descriptions of prompts."""
    return st.fixed_dictionaries(
        {
            "shape": st.sampled_from(("chain", "chain", "keep", "write", "fail", "mapped", "object", "object")),
            "kind": st.sampled_from(("tensor", "tensor", "list", "int")),
            "size": st.sampled_from((64, 1 << 12, 1 << 17, 1 << 20, (3 << 20) + 4096)),
            "seed": st.integers(0, 3),
            "number": st.integers(1, 6),
            "packs": st.lists(packs, min_size=1, max_size=4),
            "foreign": st.booleans(),
            "sleep": sleep,
        }
    )


disturbances = st.fixed_dictionaries(
    {
        "what": st.sampled_from(("cancel", "cancel", "kill", "kill", "worker", "switch", "switch_class", "free", "bridge")),
        "after_start": st.booleans(),
        "delay": st.floats(0, 0.25),
        "pack": packs,
        "name": st.sampled_from(SET_APART),
        "on": st.booleans(),
        "how": st.sampled_from(("stop", "restart")),
    }
)


class Run:
    """What all sequences of a run share: one ComfyUI, and a new one after a failure."""

    def __init__(self) -> None:
        self.failures: list[str] = []
        self.done = 0
        self.began = time.monotonic()
        self._subject: Subject | None = None
        self._before: dict[str, Any] = {}
        #: The sequences that this ComfyUI has had.
        self._earlier: list[replay_file.Steps] = []

    @property
    def over(self) -> bool:
        late = not LONG and not REPLAY and time.monotonic() - self.began > SHORT_SECONDS
        return late or len(self.failures) >= MOST_FAILURES

    @property
    def subject(self) -> Subject:
        if self._subject is None:
            self._subject, self._earlier = Subject(), []
            settled.as_at_first(self._subject)
            settled.count(self._subject)  # its own first run loads what it needs
            self._before = settled.count(self._subject)
        return self._subject

    def end_sequence(self, steps: replay_file.Steps) -> None:
        """Count, and once in a while wait until nothing is kept."""
        settled.check(self.subject, self._before)
        self.done += 1
        self._earlier.append(steps)
        if LONG and self.done % 10 == 0:
            settled.check_relaxed(self.subject)
            print(f"{self.done} sequences, {time.monotonic() - self.began:.0f} s", flush=True)

    def failed(self, steps: replay_file.Steps, error: Exception) -> None:
        """Keep the steps, and go on with a new ComfyUI."""
        name = f"{'again' if REPLAY else SEED}-{self.done + len(self.failures)}"
        said = f"{type(error).__name__}: {error}"
        if self._subject is not None:
            said += f"\n{self._subject.comfy.said()[-1500:]}"
        file = replay_file.write(name, steps, self._earlier, said)
        self.failures.append(f"SEQUENCE_REPLAY={file.relative_to(ROOT)}\n{said[:1500]}")
        print(self.failures[-1], flush=True)
        self.stop()

    def stop(self) -> None:
        """End ComfyUI; nothing of it may stay."""
        subject, self._subject = self._subject, None
        if subject is None:
            return
        base = str(subject.comfy.base)
        subject.comfy.stop()
        try:
            wait_for("bridge and workers to end with ComfyUI", lambda: not naming(base), 20)
        except AssertionError as error:
            self.failures.append(f"{error}: {naming(base)}")
        subject.comfy.remove()


class Sequences(RuleBasedStateMachine):
    """Draws the steps. A failure is kept by `Run`, not raised: Hypothesis would run it again to make it smaller, which proves nothing
    where processes race."""

    run: ClassVar[Run]

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[dict[str, Any]] = []
        self.is_over = self.run.over

    def do(self, **step: Any) -> None:
        if self.is_over:
            return
        self.steps.append(step)
        self._try(lambda: self.run.subject.do(step))

    def _try(self, act: Any) -> None:
        try:
            act()
        except Exception as error:
            self.is_over = True
            self.run.failed(self.steps, error)

    def teardown(self) -> None:
        if not self.is_over:
            self._try(lambda: self.run.end_sequence(self.steps))

    @rule(spec=specs(st.none() | sleeps))
    def prompt(self, spec: dict[str, Any]) -> None:
        self.do(do="prompts", specs=[spec])

    @rule(spec=specs(sleeps), during=disturbances)
    def disturbed(self, spec: dict[str, Any], during: dict[str, Any]) -> None:
        self.do(do="prompts", specs=[spec], during=during)

    @rule(several=st.lists(specs(st.none() | sleeps), min_size=2, max_size=5), during=st.none() | disturbances)
    def queued(self, several: list[dict[str, Any]], during: dict[str, Any] | None) -> None:
        self.do(do="prompts", specs=several, during=during)

    @rule()
    def again(self) -> None:
        self.do(do="again")

    @rule(pack=packs)
    def kill(self, pack: str) -> None:
        self.do(do="kill", pack=pack)

    @rule(pack=packs, how=st.sampled_from(("stop", "restart")))
    def worker(self, pack: str, how: str) -> None:
        self.do(do="worker", pack=pack, how=how)

    @rule(pack=packs, on=st.booleans())
    def switch(self, pack: str, on: bool) -> None:
        self.do(do="switch", pack=pack, on=on)

    @rule(pack=packs, name=st.sampled_from(SET_APART), on=st.none() | st.booleans())
    def switch_class(self, pack: str, name: str, on: bool | None) -> None:
        self.do(do="switch_class", pack=pack, name=name, on=on)

    @rule()
    def free(self) -> None:
        self.do(do="free")

    @rule(chance=st.integers(0, 5))
    def bridge(self, chance: int) -> None:
        if chance == 5:
            self.do(do="bridge")


def _end(run: Run) -> None:
    run.stop()
    print(f"{run.done} sequences held, {time.monotonic() - run.began:.0f} s", flush=True)
    if run.failures:
        pytest.fail("\n\n".join([f"seed {SEED}: {len(run.failures)} failed, {run.done} held", *run.failures]), pytrace=False)


@pytest.mark.skipif(REPLAY is not None, reason="SEQUENCE_REPLAY")
def test_sequences() -> None:
    """Every value right or an error that is allowed, and nothing left at the end."""
    Sequences.run = Run()
    print(f"seed {SEED}")
    chosen = settings(
        max_examples=LONG or 10,
        stateful_step_count=25 if LONG else 10,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(seed(SEED)(Sequences), settings=chosen, _min_steps=5)
    _end(Sequences.run)


@pytest.mark.skipif(REPLAY is None, reason="SEQUENCE_REPLAY names no file")
def test_replay() -> None:
    """The steps of a file, again."""
    run = Run()
    for steps in replay_file.read(REPLAY or "", os.environ.get("SEQUENCE_WHOLE") == "1") * TIMES:
        try:
            for step in steps:
                run.subject.do(step)
            run.end_sequence(steps)
        except Exception as error:
            run.failed(steps, error)
    _end(run)
