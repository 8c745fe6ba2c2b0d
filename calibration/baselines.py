"""The published classical decoders, scored by the same functions as the networks, and what chance gives.

The classifiers see 200 ms, as published ones do: one feature vector where its own window is that long, else
a summary of the last ones. The ridge regression sees features up to 400 ms old. All are fitted on training
trials and need scikit-learn, of the extra `train`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from calibration.datasets import FeatureStream, Piece, in_order
from firmware_bridge.errors import NervehandError

ClassicalName = Literal["lda", "extra_trees"]
CONTEXT_S = 0.2
LAGS_S = (0.0, 0.4, 0.2, 0.1, 0.3, 0.05, 0.15)
MOST_LAGGED = 512
"""Wide features are seen at the first few lags only, so that the regression stays small."""
RIDGE_PENALTY = 300.0
N_TREES = 100


class Classifier(Protocol):
    """What we use of a scikit-learn classifier."""

    classes_: NDArray[np.int64]

    def fit(self, features: NDArray[np.float32], label: NDArray[np.int64]) -> object: ...

    def predict_proba(self, features: NDArray[np.float32]) -> NDArray[np.float64]: ...


@dataclass(frozen=True, slots=True)
class Ridge:
    """Linear regression with a penalty on standardised inputs; (features - mean) / scale @ weights + offset."""

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    weights: NDArray[np.float64]
    offset: NDArray[np.float64]

    def predict(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        predicted: NDArray[np.float64] = (features - self.mean) / self.scale @ self.weights + self.offset
        return predicted


def fit_ridge(features: NDArray[np.floating], truth: NDArray[np.floating], penalty: float) -> Ridge:
    """Minimises the squared error of truth (n, d) plus `penalty` times the squared weights."""
    x = np.asarray(features, np.float64)
    mean, scale = x.mean(0), x.std(0)
    scale = np.where(scale > 0.0, scale, 1.0)
    x = (x - mean) / scale
    offset = truth.mean(0, dtype=np.float64)
    gram = x.T @ x
    gram[np.diag_indices_from(gram)] += penalty
    return Ridge(mean, scale, np.linalg.solve(gram, x.T @ (truth - offset)), offset)


class ClassicalDecoder:
    """A classifier and, where there is truth, a ridge regression, run hop by hop like the step engine.

    Rest against movement comes from a classifier of all classes, the movement from one that was fitted on
    movements alone, as the published figures were.
    """

    def __init__(
        self,
        hop_s: float,
        context_hops: int,
        n_gestures: int,
        all_classes: Classifier | None,
        movements: Classifier | None,
        ridge: Ridge | None,
    ) -> None:
        self._hop_s, self._context_hops, self._n_gestures = hop_s, context_hops, n_gestures
        self._all, self._movements, self._ridge = all_classes, movements, ridge
        self._past: NDArray[np.float32] | None = None

    def reset(self) -> None:
        """Forget the context: what came before the next vector counts as equal to it."""
        self._past = None

    def process(self, z: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Normalised features (k, f) to outputs (k, d or 0) and probabilities (k, g)."""
        k = len(z)
        if k == 0:
            width = 0 if self._ridge is None else len(self._ridge.offset)
            return np.zeros((0, width), np.float32), np.zeros((0, self._n_gestures), np.float32)
        reach = max(self._context_hops, round(max(LAGS_S) / self._hop_s))
        past = np.repeat(z[:1], reach, axis=0) if self._past is None else self._past
        history = np.concatenate([past, z])
        self._past = history[-reach:].copy()
        outputs = np.zeros((k, 0), np.float32)
        if self._ridge is not None:
            outputs = self._ridge.predict(lagged(history, self._hop_s)[reach:]).astype(np.float32)
        probabilities = np.zeros((k, self._n_gestures), np.float32)
        if self._all is None:
            return outputs, probabilities
        context = summarised(history, self._context_hops)[reach:]
        probabilities[:, self._all.classes_] = self._all.predict_proba(context)
        if self._movements is not None:
            moving = probabilities[:, 1:].sum(1, keepdims=True)
            probabilities[:, 1:] = 0.0
            probabilities[:, self._movements.classes_] = self._movements.predict_proba(context) * moving
        return outputs, probabilities


def summarised(z: NDArray[np.float32], n_hops: int) -> NDArray[np.float32]:
    """Mean, deviation, largest, smallest and change (k, 5 f) of each feature over `n_hops`; for one, itself."""
    if n_hops < 2:
        return z
    window = np.lib.stride_tricks.sliding_window_view(_led_in(z, n_hops - 1), n_hops, axis=0)
    parts = window.mean(2), window.std(2), window.max(2), window.min(2), window[:, :, -1] - window[:, :, 0]
    return np.concatenate(parts, axis=1).astype(np.float32)


def lagged(z: NDArray[np.float32], hop_s: float) -> NDArray[np.float32]:
    """The features and their squares at lags up to 400 ms, (k, 2 lags f)."""
    n_lags = max(1, min(len(LAGS_S), MOST_LAGGED // max(1, z.shape[1])))
    lags = sorted({round(lag / hop_s) for lag in LAGS_S[:n_lags]})
    led_in = _led_in(z, lags[-1])
    shifted = [led_in[lags[-1] - lag : len(led_in) - lag] for lag in lags]
    columns = np.concatenate(shifted, axis=1)
    return np.concatenate([columns, np.square(columns)], axis=1)


def fit_classical(
    name: ClassicalName,
    stream: FeatureStream,
    z: NDArray[np.float32],
    training: Sequence[Piece],
    n_gestures: int,
    seed: int = 0,
    *,
    window_s: float = 0.0,
) -> ClassicalDecoder:
    """Fit on the hops of the training pieces of a stream; `z` (k, f) are its normalised features, each made of
    the last `window_s`.

    Raises NervehandError where scikit-learn is missing or the trials teach nothing.
    """
    rows = in_order(training, 0).rows
    known = rows[stream.label[rows] >= 0]
    if len(known) == 0 and stream.truth is None:
        raise NervehandError("the training trials have neither gestures nor truth: there is nothing to learn")
    context_hops = 1 + max(0, round((CONTEXT_S - max(window_s, stream.hop_s)) / stream.hop_s))
    context = summarised(z, context_hops)
    ridge = None
    if stream.truth is not None:
        ridge = fit_ridge(lagged(z, stream.hop_s)[rows], stream.truth[rows], RIDGE_PENALTY)
    moving = known[stream.label[known] > 0]
    return ClassicalDecoder(
        stream.hop_s,
        context_hops,
        n_gestures,
        _fitted(name, seed, context[known], stream.label[known]),
        _fitted(name, seed, context[moving], stream.label[moving]),
        ridge,
    )


def fit_lda(features: NDArray[np.float32], label: NDArray[np.int64]) -> Classifier | None:
    """Linear discriminant analysis with shrinkage (Ledoit and Wolf); None for fewer than two classes."""
    return _fitted("lda", 0, features, label)


def permuted(stream: FeatureStream, training: Sequence[Piece], seed: int) -> FeatureStream:
    """The stream with gestures and truth of the training pieces dealt out anew among them, trial by trial.

    Rest stays rest, and a truth is stretched to the length of the trial that receives it: what remains of a
    score is what knowing when, but not what, gives.
    """
    dealt = np.random.default_rng(seed).permutation(len(training))
    label = stream.label.copy()
    truth = None if stream.truth is None else stream.truth.copy()
    for to, source in zip(training, (training[i] for i in dealt), strict=True):
        rows = slice(to.start, to.stop)
        moving = label[rows] > 0
        label[rows][moving] = source.gesture
        if truth is not None and stream.truth is not None:
            taken = source.start + np.arange(len(to)) * len(source) // len(to)
            truth[rows] = stream.truth[taken]
    return replace(stream, label=label, truth=truth)


def _led_in(z: NDArray[np.float32], n: int) -> NDArray[np.float32]:
    return np.concatenate([np.repeat(z[:1], n, axis=0), z])


def _fitted(
    name: ClassicalName, seed: int, features: NDArray[np.float32], label: NDArray[np.int64]
) -> Classifier | None:
    if len(np.unique(label)) < 2:
        return None
    model = _classifier(name, seed)
    model.fit(features, label)
    return model


def _classifier(name: ClassicalName, seed: int) -> Classifier:
    try:
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
        from sklearn.ensemble import ExtraTreesClassifier
    except ImportError as error:
        raise NervehandError(
            "the classical baselines need scikit-learn: install the extra, pip install 'nervehand[train]'"
        ) from error
    lda: Classifier = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    if name == "lda":
        return lda
    trees: Classifier = ExtraTreesClassifier(N_TREES, min_samples_leaf=2, random_state=seed, n_jobs=1)
    return trees
