"""What people said survives kills and replays: the journal, the snapshot and the control log."""

from __future__ import annotations

import io
import random
from typing import TYPE_CHECKING, Any

import msgspec
from chance import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from offbeat_edge import control as controls
from offbeat_edge.control import Feedback, Logged
from offbeat_edge.durable import Durable
from offbeat_edge.log import Log
from offbeat_edge.schema import AlertEvent
from offbeat_edge.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from offbeat_edge.control import Control, Verdict
    from offbeat_edge.engine import Engine
    from offbeat_edge.model import Model
    from offbeat_edge.outputs import Outputs
from control_parts import START, Step, engine_for, feedback, rename, run, sample, told, window


def story(seed: int) -> list[Step]:
    """A minute of a stream, and what people say in it."""
    chance = random.Random(seed)
    steps: list[Step] = []
    heat = 0.0
    for k in range(chance.randint(20, 70)):
        if chance.random() < 0.2:
            heat = chance.choice([0.0, 9.0, 30.0])
        steps.append([sample(k, heat=heat)])
        for _ in range(chance.choice([0, 0, 0, 1, 3])):
            said = saying(chance, k, len(steps))
            if not (isinstance(said, int) and isinstance(steps[-1], int)):
                steps.append(said)
    return steps


def saying(chance: random.Random, k: int, number: int) -> Step:
    kind = chance.choice(["silence", "window", "judge"])
    if kind == "silence":
        return chance.randint(250, 20_000)
    if kind == "judge":
        verdict: Verdict = chance.choice(["false_alarm", "expected", "confirmed"])
        return Feedback(id=f"f{number}", time_ms=START, asset="pump1", verdict=verdict)
    first = k + chance.randint(-5, 5)
    name, back = f"w{k % 4}", chance.random() < 0.3
    return window(first, first + chance.randint(1, 15), name=name, cancelled=back)


class Disk:
    """A durable engine on a file, killed and started at will."""

    def __init__(self, path: Path, model: Model) -> None:
        self.path, self.model = path, model
        self.start()

    def start(self) -> None:
        self.store = Store(path=self.path, outbox_limit_bytes=1 << 24)
        self.engine = engine_for(self.model)
        self.durable = Durable(
            store=self.store,
            engine=self.engine,
            topic_of=str,
            log=Log(stream=io.StringIO()),
        )
        self.durable.recover(lambda: None)

    def kill(self) -> None:
        self.durable.close()
        self.start()

    def tell(self, step: Step) -> Outputs:
        if isinstance(step, int):
            return self.durable.idle(step)
        if isinstance(step, list):
            return self.durable.take(step)
        return self.durable.control(step)

    def events(self) -> list[AlertEvent]:
        rows = self.store.pending(after=0, limit=10_000)
        return [msgspec.json.decode(row.payload, type=AlertEvent) for row in rows]

    def log(self) -> list[Logged]:
        return [controls.decode(row.body) for row in self.store.controls()]


quick = settings(
    max_examples=examples(25), suppress_health_check=[HealthCheck.function_scoped_fixture]
)
seeds = st.integers(0, 10**6)


@quick
@given(seed=seeds, faults=st.lists(st.tuples(st.integers(0, 99), st.booleans()), max_size=6))
def test_kills_change_nothing_and_the_log_replays_the_same(
    model: Model,
    tmp_path_factory: Any,  # noqa: ANN401 - pytest's own
    seed: int,
    faults: list[tuple[int, bool]],
) -> None:
    steps = story(seed)
    folder = tmp_path_factory.mktemp("state")
    calm, hit = Disk(folder / "calm.db", model), Disk(folder / "hit.db", model)
    for step in steps:
        calm.tell(step)
    calm.durable.commit()
    kills = {at % len(steps): snapshot for at, snapshot in faults}
    committed = 0
    for n, step in enumerate(steps):
        hit.tell(step)
        if n % 5 == 0:
            hit.durable.commit(snapshot=kills.get(n, False))
            committed = n + 1
        if n in kills:
            hit.kill()
            for lost in steps[max(0, committed - 2) : n + 1]:  # two of them come twice
                if not isinstance(lost, int):
                    hit.tell(lost)
            for lost in steps[committed : n + 1]:
                if isinstance(lost, int):
                    hit.tell(lost)
    hit.durable.commit()
    assert brief(hit.events()) == brief(calm.events())

    replay = engine_for(model)
    replay.schedule(calm.log())
    out = replay.feed([s for step in steps if isinstance(step, list) for s in step]).events
    assert brief([*out, *replay.flush().events]) == brief(calm.events())
    calm.durable.close()
    hit.durable.close()


def brief(events: list[AlertEvent]) -> list[tuple[object, ...]]:
    """What is promised; ``stale`` is about our own connection."""
    return [
        (e.id, e.type, e.time_ms, e.end_ms, e.score, e.peak, e.reason, e.message)
        for e in events
        if e.kind != "stale"
    ]


@quick
@given(seed=seeds)
def test_what_is_recovered_from_the_journal_is_what_there_was_to_the_byte(
    model: Model,
    tmp_path_factory: Any,  # noqa: ANN401 - pytest's own
    seed: int,
) -> None:
    disk = Disk(tmp_path_factory.mktemp("state") / "state.db", model)
    steps = story(seed)
    for step in steps:
        disk.tell(step)
    disk.durable.commit()
    before = disk.engine.snapshot()
    disk.kill()
    assert disk.engine.snapshot() == before
    again = engine_for(model)
    again.restore(before)
    assert again.snapshot() == before
    disk.durable.close()


def test_a_silence_amid_maintenance_is_in_the_snapshot(model: Model) -> None:
    engine = engine_for(model)
    run(engine, 0, 9)
    engine.idle(20_000)  # stale
    engine.control(window(20, 60))
    engine.idle(5_000)  # maintenance
    engine.control(window(20, 60, cancelled=True))
    engine.control(window(20, 90, name="v"))
    engine.idle(5_000)
    other = engine_for(model)
    other.restore(engine.snapshot())
    then, now = engine.watches["pump1"], other.watches["pump1"]
    assert (then.resting_ms, then.stale_ms) == (START + 90_000, START + 8_000)
    assert then.silence_ms == START + 33_000
    assert now.resting_ms == then.resting_ms
    assert now.stale_ms == then.stale_ms
    assert now.silence_ms == then.silence_ms


@quick
@given(seed=seeds, cut=st.integers(0, 100))
def test_a_snapshot_anywhere_changes_nothing(model: Model, seed: int, cut: int) -> None:
    steps = story(seed)

    def tell(engine: Engine, part: list[Step]) -> list[AlertEvent]:
        events: list[AlertEvent] = []
        for step in part:
            if isinstance(step, int):
                events += engine.idle(step).events
            elif isinstance(step, list):
                events += engine.feed(step).events
            else:
                events += engine.control(step).events
        return events

    whole = tell(engine_for(model), steps)
    first, second = engine_for(model), engine_for(model)
    before = tell(first, steps[:cut])
    second.restore(first.snapshot())
    assert before + tell(second, steps[cut:]) == whole
    assert len({e.id for e in whole}) == len(whole)


def test_a_replay_applies_a_log_line_without_a_place_at_its_own_time(model: Model) -> None:
    engine = engine_for(model)
    said: Control = msgspec.structs.replace(feedback(), time_ms=START + 26_000)
    engine.schedule([Logged(received_ms=0, control=said)])
    events = run(engine, 0, 20) + run(engine, 20, 40, heat=9.0)
    assert told(events) == [("anomaly", "new", None), ("anomaly", "end", "false_alarm")]
    assert events[-1].time_ms == START + 26_000


def test_a_replay_renames_before_the_new_name_is_met(model: Model) -> None:
    live = engine_for(model)
    before = [sample(k) for k in range(20)]
    after = [sample(k, heat=9.0, asset="pump2") for k in range(20, 40)]
    events = live.feed(before).events
    control = rename()
    line = Logged(received_ms=0, at=live.at(control), control=control)
    events = [*events, *live.control(control).events, *live.feed(after).events]
    replay = engine_for(model)
    replay.schedule([line])
    assert replay.feed([*before, *after]).events == events
    assert events
