"""The configuration: a TOML file and the environment over it.

An input is the file, a NUL, and lines ``NAME=value`` of the environment.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from offbeat_edge import config as configs

SPLIT = b"\x00"
_FOLDER = tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)  # noqa: S108
_PATH = Path(_FOLDER.name) / "edge.toml"

FULL = b"""
[gateway]
id = "gw1"
site = "north"
[mqtt]
host = "broker.plant"
port = 8883
protocol = "5"
username = "gw1"
password_file = "p"
keepalive_s = 30
ca_file = "ca.pem"
receive_maximum = 100
[[source]]
topic = "plant/{asset...}"
format = "json"
time = "data.ts"
time_unit = "ms"
values = { flow = "a.x", heat = "b[0]" }
prefix = "data"
assets = { "hall1/p3" = "press" }
qos = 1
[[source]]
topic = "lines/+"
format = "influx"
asset = "host"
[[model]]
bundle = "pump.offbeat"
assets = ["pump*", "p?"]
digest = "sha256:%b"
lateness_s = 2.5
[model.alert]
min_duration_s = 10
clear_ratio = 0.9
[publish]
score = true
health_interval_s = 60
[limits]
max_assets = 10
spool_mb = 64.0
[log]
level = "info"
""" % (b"0" * 64)
LEAST = b'[gateway]\nid="g"\n[[source]]\ntopic="a/{asset}"\n[[model]]\nbundle="b"\n'
SEEDS = (
    FULL,
    LEAST,
    LEAST
    + SPLIT
    + b"OFFBEAT_MQTT__PORT=1884\nOFFBEAT_MODEL__0__BUNDLE=x\nOFFBEAT_LOG__LEVEL=debug",
    b"a = {b = [1, 2.5, 'x', 1979-05-27T07:32:00Z]}\n" + SPLIT + b"OFFBEAT_GATEWAY__ID=gw1",
)


def config(data: bytes) -> None:
    """Read it; what is without problems must be complete, and stay so when it is said again."""
    file, _, rest = data.partition(SPLIT)
    _PATH.write_bytes(file)
    environ = dict(
        line.split("=", 1) for line in os.fsdecode(rest).splitlines() if "=" in line
    )  # fmt: skip
    found, problems = configs.read(_PATH, environ)
    assert all(type(problem) is str and len(problem) < 5000 for problem in problems)
    assert found is not None or problems
    if found is not None and not problems:
        assert found.models
        assert found.sources
        for model in found.models:
            found.model_digest(model)
