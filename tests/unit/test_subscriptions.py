"""The filters of a client id, against a broker that keeps sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import example, given
from hypothesis import strategies as st

from offbeat_edge import subscriptions
from offbeat_edge.subscriptions import BATCH, Subscriptions

if TYPE_CHECKING:
    from pathlib import Path

FILTERS = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 1), max_size=8)
STEPS = st.lists(st.one_of(FILTERS, st.sampled_from(["lose", "keep", "crash", "answer"])))


class Keeper:
    """A broker's session, and a client whose process can die between any two packets."""

    def __init__(self) -> None:
        self.session: set[str] = set()
        self.disk: list[str] = []
        self.answers: list[tuple[str, int, int]] = []
        self.mid = 0
        self.client = Subscriptions(wanted={}, held=self.disk)

    def connect(self, *, kept: bool) -> None:
        self.session = self.session if kept else set()
        self.answers = []
        self.client.connected(session_present=kept)
        self.ask()

    def ask(self) -> None:
        wanted = self.client.subscribe()
        self.client.hold(name for batch in wanted for name, _ in batch)
        self.disk = sorted(self.client.held)
        for names in self.client.unsubscribe():
            self.mid += 1
            self.client.asked(self.mid, names)
            self.session -= set(names)
            self.answers.append(("released", self.mid, 0))
        for batch in wanted:
            self.mid += 1
            self.client.asked(self.mid, [name for name, _ in batch])
            self.session |= {name for name, _ in batch}
            self.answers.append(("granted", self.mid, len(batch)))

    def answer(self) -> None:
        while self.answers:
            kind, mid, count = self.answers.pop(0)
            if kind == "released":
                self.client.released(mid)
                self.disk = sorted(self.client.held)
            else:
                self.client.granted(mid, [None] * count)
        self.ask()

    def crash(self) -> None:
        self.client = Subscriptions(wanted=self.client.wanted, held=self.disk)
        self.connect(kept=True)


@example([{"a": 0}, {}, "keep", {"a": 0}, {}])  # let go of and asked for, both under way
@given(STEPS)
def test_in_the_end_the_session_holds_what_is_wanted_and_nothing_else(steps: list[object]) -> None:
    keeper = Keeper()
    keeper.connect(kept=False)
    for step in steps:
        if isinstance(step, dict):
            keeper.client.want(step)
            keeper.ask()
        elif step == "answer":
            keeper.answer()
        elif step == "crash":
            keeper.crash()
        else:
            keeper.connect(kept=step == "keep")
        assert keeper.session <= set(keeper.disk), "the session holds a filter nobody knows of"
    keeper.ask()
    while keeper.answers:
        keeper.answer()
    assert keeper.session == set(keeper.client.wanted)
    assert keeper.client.ready


def test_many_filters_go_in_packets_of_bounded_size() -> None:
    names = {f"plant/{n}": 1 for n in range(2 * BATCH + 1)}
    assert [len(batch) for batch in Subscriptions(wanted=names).subscribe()] == [BATCH, BATCH, 1]


def test_a_refusal_is_kept_until_a_later_answer() -> None:
    subs = Subscriptions(wanted={"a": 1, "b": 1})
    subs.asked(1, ["a", "b"])
    assert subs.granted(1, [None, "not authorized"]) == {"b": "not authorized"}
    assert subs.ready
    subs.ask_again()
    assert subs.subscribe() == [[("b", 1)]]
    subs.asked(2, ["b"])
    subs.granted(2, [None])
    assert not subs.refused


def test_what_a_session_holds_survives_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "state" / "subscriptions.json"
    assert subscriptions.load(path) == []
    subscriptions.save(path, ["plant/+", "é"])
    assert subscriptions.load(path) == ["plant/+", "é"]
    path.write_bytes(b"{")
    assert subscriptions.load(path) == []


def test_a_file_that_is_no_utf8_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "held.json"
    path.write_bytes(b'["plant/\xa4"]')
    assert subscriptions.load(path) == []
