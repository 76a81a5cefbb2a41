"""What the integers cut off of a linear path's components comes back."""

from __future__ import annotations

import numpy as np

from offbeat_edge.beyond import END, Beyond, at_an_end
from offbeat_edge.modelfile import LinearPath, Matrix

STEP = 1 / END  # of the components
MOST = 10.0
RANK, SIZE = 5, 12
DRAW = np.random.default_rng(1)
INWARD = Matrix(DRAW.integers(-32_000, 32_000, (RANK, SIZE)).astype(np.int16), 3e-6)
OUTWARD = Matrix(DRAW.integers(-32_000, 32_000, (SIZE, RANK)).astype(np.int16), 1e-4)
PATH = LinearPath(INWARD, OUTWARD, np.ones(3, np.bool_))


def test_components_that_were_cut_are_completed_and_others_left() -> None:
    steps = DRAW.integers(-END, END + 1, (40, SIZE // 3, 3)).astype(np.int8)
    plain = steps.reshape(40, -1) * (MOST / END)
    exact = plain @ (INWARD.values * INWARD.scale).T
    told = np.clip(np.rint(exact / STEP), -END - 1, END).astype(np.int8)
    outward = (OUTWARD.values * OUTWARD.scale).T
    recon = (told * STEP @ outward).reshape(steps.shape)
    Beyond(PATH, most=MOST, step=STEP).complete(steps, told, recon)
    ended = np.abs(told.astype(int)) >= END
    expected = np.where(ended, exact, told * STEP) @ outward
    np.testing.assert_allclose(recon.reshape(40, -1), expected, atol=1e-9)
    assert np.abs(exact).max() > 2.0
    assert 0 < ended.sum() < ended.size


def test_an_end_is_seen_on_both_sides_and_nowhere_else() -> None:
    for value in range(-128, 128):
        components = np.array([[0, value, 3]], np.int8)
        assert at_an_end(components) is (abs(value) >= END)
