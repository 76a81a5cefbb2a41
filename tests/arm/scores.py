"""Scores and alerts of a bundle on a recording, by the device's own code, as JSON.

    python scores.py BUNDLE SAMPLES OUT     SAMPLES: lines of [asset, time_ms, {sensor: value}]

Needs what a device has and nothing more, so that it runs wherever the daemon does.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from msgspec.structs import asdict

from offbeat_edge import bundle, knownanswer, replay
from offbeat_edge.engine import Engine
from offbeat_edge.interpreter import Interpreter
from offbeat_edge.model import open_model
from offbeat_edge.schema import Sample


def main(path: str, samples: str, out: str) -> None:
    package = bundle.load(path)
    model = open_model(package, config_digest="0" * 64)
    assert isinstance(model.interpreter, Interpreter), model.degraded
    answer = knownanswer.check_in_child(path, digest=package.digest)
    engine = Engine(site="arm", gateway="arm", route=lambda _: model)
    lines = Path(samples).read_text().splitlines()
    outputs = list(replay.play(engine, (Sample(*json.loads(line)) for line in lines)))
    result = {
        "runtime": asdict(model.interpreter.runtime),
        "known_answer": [answer.ok, answer.reason],
        "scores": [[s.time_ms, s.score] for o in outputs for s in o.scores],
        "events": [[e.id, e.type, e.kind, e.time_ms] for o in outputs for e in o.events],
    }
    Path(out).write_text(json.dumps(result))


main(*sys.argv[1:])
