"""The graphs that all fits share, against Keras' own training of the same network."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

keras = pytest.importorskip("keras", reason="the cloud half is not installed")

from test_network import fit_linear, waves  # noqa: E402 - after the skip

from offbeat_train.network import NetworkSpec, build  # noqa: E402
from offbeat_train.shared_graph import SharedGraph  # noqa: E402
from offbeat_train.training import History, train  # noqa: E402

Weights = list[NDArray[np.float32]]

# One with everything in it, one with nothing that can be left out.  Keras
# traces them step by step: few steps.
SPECS = (
    NetworkSpec(window=12, sensors=3, patch=6, encoder=(6,), latent=3, decoder=(5, 6), rank=4),
    NetworkSpec(window=12, sensors=3, patch=12, encoder=(5,), latent=2, decoder=(4,), mask=0.0,
                shift=0.0),
)  # fmt: skip


def trained(spec: NetworkSpec, *, shared: bool) -> tuple[History, Weights]:
    model, windows = build(spec, seed=1), waves(200)
    fit_linear(model, spec, windows)
    learner = SharedGraph(model, spec) if shared else model
    losses = train(learner, windows, windows, epochs=4, seed=2, batch_size=20)
    return losses, model.get_weights()


@pytest.mark.parametrize("spec", SPECS)
def test_shared_graphs_learn_what_keras_learns(spec: NetworkSpec) -> None:
    losses, weights = trained(spec, shared=False)
    ours, learned = trained(spec, shared=True)

    assert losses.best >= 0
    assert np.allclose(ours.loss, losses.loss, rtol=1e-5)
    assert np.allclose(ours.validation, losses.validation, rtol=1e-5)
    for one, other in zip(learned, weights, strict=True):
        assert np.allclose(one, other, atol=1e-5)


def test_a_second_training_starts_where_the_first_did() -> None:
    spec, windows = SPECS[0], waves(200)
    shared = SharedGraph(build(spec, seed=1), spec)
    first = train(shared, windows, windows, epochs=2, seed=2)
    weights = shared.get_weights()
    shared.restart()
    again = train(shared, windows, windows, epochs=2, seed=2)

    assert (again.loss, again.validation) == (first.loss, first.validation)
    assert all(np.array_equal(a, b) for a, b in zip(weights, shared.get_weights(), strict=True))


def test_networks_of_one_shape_share_a_graph_and_nothing_else() -> None:
    spec, windows = SPECS[0], waves(200)
    alone = trained(spec, shared=True)
    wide = NetworkSpec(**{**vars(spec), "sensors": 2, "rank": 2})
    train(SharedGraph(build(wide, 5), wide), windows[..., :2], windows[..., :2], epochs=1, seed=0)
    after = trained(spec, shared=True)

    assert alone[0] == after[0]
    assert all(np.array_equal(a, b) for a, b in zip(alone[1], after[1], strict=True))
