"""Figures that others published, to stand beside ours.

Rules: each with its source; only where our figure counts the same thing, or
the note says what differs.
"""

from __future__ import annotations

from typing import NamedTuple


class Figure(NamedTuple):
    """A published row of a table."""

    name: str
    values: dict[str, float]
    source: str


_SKAB = "waico/SKAB README"
_ORION = "sintel-dev/Orion 0.7.1; its threshold comes from the errors of the test signal"
_NAB = "numenta/NAB README; its threshold is the best one on the labels"
_TSB = "TSB-AD, our mean over the files that can be rebuilt (SMD's six among them)"


PUBLISHED: dict[str, tuple[Figure, ...]] = {
    "skab": (
        Figure("Conv-AE", {"f1": 0.78, "far": 0.1355, "mar": 0.2802}, _SKAB),
        Figure("MSET", {"f1": 0.78, "far": 0.3973, "mar": 0.1413}, _SKAB),
        Figure("T2+Q (PCA)", {"f1": 0.76, "far": 0.2662, "mar": 0.2492}, _SKAB),
        Figure("LSTM-AE", {"f1": 0.74, "far": 0.2996, "mar": 0.2592}, _SKAB),
        Figure("Isolation forest", {"f1": 0.29, "far": 0.0256, "mar": 0.8289}, _SKAB),
    ),
    "smap": (
        Figure("AER", {"overlap_f1": 0.764}, _ORION),
        Figure("LSTM dynamic threshold", {"overlap_f1": 0.732}, _ORION),
        Figure("LSTM autoencoder", {"overlap_f1": 0.652}, _ORION),
    ),
    "msl": (
        Figure("AER", {"overlap_f1": 0.657}, _ORION),
        Figure("LSTM dynamic threshold", {"overlap_f1": 0.455}, _ORION),
        Figure("LSTM autoencoder", {"overlap_f1": 0.548}, _ORION),
    ),
    "nab": (
        Figure("ARTime", {"nab_score": 74.9}, _NAB),
        Figure("Numenta HTM", {"nab_score": 70.5}, _NAB),
        Figure("random", {"nab_score": 11.0}, _NAB),
    ),
    "ucr": (),
    "gecco": (),
    "tsb-ad": (
        Figure("KMeansAD, fitted on the test series", {"vus_pr": 0.384}, _TSB),
        Figure("TSPulse, fine-tuned", {"vus_pr": 0.273}, _TSB),
        Figure("CNN", {"vus_pr": 0.264}, _TSB),
        Figure("LSTMAD", {"vus_pr": 0.202}, _TSB),
        Figure("PCA", {"vus_pr": 0.161}, _TSB),
    ),
}
