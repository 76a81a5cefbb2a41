"""Many models on Ray: its scheduler, its retries, its object store, nothing of our own.

Rules: a model is a task of one core; a worker or node that is lost costs
the task a retry, and as a job resumes, little of the work; a model that
fails, fails alone and says why.  The registry, which all workers must reach
under one path, is where results meet.  Usage statistics and dashboard are
off, and nothing is fetched.

>>> with running(address=None, jobs=2):  # doctest: +SKIP
...     for end in work(orders):
...         print(end.model, end.said)
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from offbeat_edge.errors import OffbeatError
from offbeat_train.errors import FleetError, RegistryBusy
from offbeat_train.retrain.job import JobOptions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

RETRIES = 5  # of a task whose worker or node was lost, or whose registry was still held
HELD_S = 30.0  # a lost worker lets go of its registry within this
INTERNAL = 70  # exit code
ALONE = {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1",
         "TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "-1"}  # fmt: skip


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One model's job, as it travels to a worker."""

    lake: str
    registry: str
    model: str
    options: JobOptions
    now_ms: int
    mlflow: str | None = None


class End(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one model; ``failed`` is empty when all went well."""

    model: str
    seconds: float = 0.0
    said: str = ""
    version: str | None = None
    failed: str = ""
    exit_code: int = 0


@contextmanager
def running(*, address: str | None, jobs: int | None) -> Iterator[None]:
    """Join the cluster at ``address``, or have one here with ``jobs`` cores."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray  # noqa: PLC0415 - its settings are read when it is imported
    except ModuleNotFoundError as error:
        raise FleetError(f"expected Ray, got {error}: pip install 'offbeat[fleet]'") from error

    if address is None:
        ray.init(num_cpus=jobs, include_dashboard=False, log_to_driver=False,
                 configure_logging=False)  # fmt: skip
    else:
        ray.init(address=address, log_to_driver=False, configure_logging=False)
    try:
        yield
    finally:
        ray.shutdown()


def work(orders: Sequence[Order]) -> Iterator[End]:
    """Begin them all; give each model's end as it comes, in no order."""
    import ray  # noqa: PLC0415

    remote = ray.remote(num_cpus=1, max_retries=RETRIES, retry_exceptions=[RegistryBusy],
                        runtime_env={"env_vars": ALONE})(do)  # fmt: skip
    begun = time.monotonic()
    waiting = {remote.remote(msgspec.json.encode(order)): order.model for order in orders}
    return _ends(waiting, begun)


def _ends(waiting: dict[Any, str], begun: float) -> Iterator[End]:
    import ray  # noqa: PLC0415

    while waiting:
        ready, _ = ray.wait(list(waiting), num_returns=1)
        for reference in ready:
            yield _end(waiting.pop(reference), reference, time.monotonic() - begun)


def _end(model: str, reference: Any, seconds: float) -> End:  # noqa: ANN401 - Ray's object
    import ray  # noqa: PLC0415

    try:
        return msgspec.json.decode(ray.get(reference), type=End)
    except ray.exceptions.RayError as error:  # its worker was lost more often than we retry
        told = str(error).strip().splitlines()[-1]
        return End(model=model, seconds=seconds, failed=told, exit_code=INTERNAL)


def do(order: bytes) -> bytes:
    """Do one order, in a worker; every failure of the model itself is an `End`."""
    asked = msgspec.json.decode(order, type=Order)
    begun = time.monotonic()
    try:
        said, version = _retrain(asked)
    except RegistryBusy:
        time.sleep(HELD_S / RETRIES)
        raise  # its last worker is not gone yet: Ray tries again
    except OffbeatError as error:
        return _encode(asked, begun, failed=str(error), exit_code=error.exit_code)
    except Exception as error:  # noqa: BLE001 - a supervisor: one model fails alone
        told = f"{type(error).__name__}: {error}"
        return _encode(asked, begun, failed=told, exit_code=INTERNAL)
    return _encode(asked, begun, said=said, version=version)


def _retrain(asked: Order) -> tuple[str, str | None]:
    from offbeat_train.lake import open_lake  # noqa: PLC0415 - the driver needs none of it
    from offbeat_train.retrain import tracking  # noqa: PLC0415
    from offbeat_train.retrain.job import retrain  # noqa: PLC0415
    from offbeat_train.retrain.past import LakePast  # noqa: PLC0415
    from offbeat_train.retrain.shelf import Shelf  # noqa: PLC0415

    shelf = Shelf(Path(asked.registry), asked.model)
    past = LakePast(open_lake(asked.lake))
    outcome = retrain(shelf, past, asked.options, now_ms=asked.now_ms, on=_Silent())
    tracking.log(outcome, shelf, uri=asked.mlflow)
    return outcome.said, outcome.version


def _encode(asked: Order, begun: float, **told: Any) -> bytes:  # noqa: ANN401
    seconds = time.monotonic() - begun
    return msgspec.json.encode(End(model=asked.model, seconds=seconds, **told))


class _Silent:
    """Progress that nobody watches; the driver tells of whole models."""

    def stage(self, text: str) -> None:
        """Begin something."""

    def epoch(self, epoch: int, epochs: int, loss: float, validation: float) -> None:
        """End an epoch."""
