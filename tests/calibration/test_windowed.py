"""The published network over windows: at every hop from zero on the last second, and only that."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from calibration.datasets import Piece
from calibration.shapes import PAPER, Convolution, NetworkShape
from calibration.training import Progress
from calibration.windowed import (
    N_STEPS,
    PREDICTED_AT_ONCE,
    WindowedDecoder,
    WindowedNetwork,
    WindowedSettings,
    fit_windowed,
)
from firmware_bridge.errors import NervehandError

SMALL = NetworkShape((Convolution(8, 3), Convolution(8, 2)), n_hidden=16)
QUICK = WindowedSettings(epochs=12, stride=4, rate=1e-2, dropout=0.0, shape=SMALL)


def piece(start: int, stop: int, segment: int = 0) -> Piece:
    return Piece(start, stop, trial=start, gesture=1, repetition=1, segment=segment, alone=False)


def features(n: int, width: int = 3, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((n, width)).astype(np.float32)


def network(seed: int = 0) -> WindowedNetwork:
    torch.manual_seed(seed)
    return WindowedNetwork(SMALL, n_features=3, n_outputs=2, dropout=0.5).eval()


def test_it_has_the_published_size() -> None:
    with torch.random.fork_rng():
        decoder = WindowedDecoder(WindowedNetwork(PAPER, 224, 6, 0.5))
    assert 1.5e6 < decoder.n_parameters < 1.7e6


def test_every_hop_is_answered_from_zero_on_its_own_window() -> None:
    made = network()
    z = features(90)
    answers, probabilities = WindowedDecoder(made).process(z)
    assert probabilities.shape == (90, 0)
    length = N_STEPS + made.led_in
    for hop in (length - 1, 70, 89):
        with torch.no_grad():
            window = torch.from_numpy(z[hop + 1 - length : hop + 1, None])
            expected = made(window)[-1, 0].numpy()
        np.testing.assert_allclose(answers[hop], expected, atol=1e-5)


def test_what_is_older_than_a_window_is_forgotten() -> None:
    made = network()
    z = features(120)
    other = z.copy()
    other[:30] = 5.0
    a, _ = WindowedDecoder(made).process(z)
    b, _ = WindowedDecoder(made).process(other)
    reach = N_STEPS + made.led_in - 1
    assert not np.allclose(a[35], b[35], atol=1e-3)
    np.testing.assert_allclose(a[30 + reach :], b[30 + reach :], atol=1e-6)


def test_answers_do_not_depend_on_how_the_hops_are_cut() -> None:
    z = features(PREDICTED_AT_ONCE + 40)
    whole, _ = WindowedDecoder(network()).process(z)
    decoder = WindowedDecoder(network())
    cut = [decoder.process(part)[0] for part in (z[:1], z[1:1], z[1:60], z[60:])]
    np.testing.assert_allclose(np.concatenate(cut), whole, atol=1e-5)
    decoder.reset()
    np.testing.assert_allclose(decoder.process(z[:50])[0], whole[:50], atol=1e-5)


def test_it_learns_what_lies_some_hops_back() -> None:
    z = features(1500)
    truth = np.zeros((1500, 1), np.float32)
    truth[5:, 0] = np.tanh(z[:-5, 0])  # further back than the convolutions see
    decoder = fit_windowed(z, truth, [piece(0, 1200)], QUICK, seed=1)
    said, _ = decoder.process(z)
    error = np.mean((said[1200:] - truth[1200:]) ** 2)
    assert error < 0.5 * truth[1200:].var()


def test_the_same_seed_gives_the_same_decoder() -> None:
    z, truth = features(200), features(200, 2, seed=1)
    quick = WindowedSettings(epochs=2, stride=20, shape=SMALL)
    a, b, c = (fit_windowed(z, truth, [piece(0, 200)], quick, seed=s).process(z)[0] for s in (0, 0, 1))
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)


def test_no_window_reaches_over_a_splice_or_beyond_the_training_trials() -> None:
    z, truth = features(300), np.zeros((300, 1), np.float32)
    # Hops that no window may touch: a loss that is not a number would stop the training.
    z[100:140], z[200] = np.nan, np.nan
    trials = [piece(140, 170), piece(170, 200), piece(0, 60), piece(60, 100), piece(201, 300, segment=1)]
    seen: list[Progress] = []
    fit_windowed(z, truth, trials, WindowedSettings(epochs=3, stride=1, shape=SMALL), on_progress=seen.append)
    assert [at.step for at in seen] == [1, 2, 3]


def test_what_cannot_be_learned_from_is_refused() -> None:
    z = features(100)
    with pytest.raises(NervehandError, match="positions, not 99"):
        fit_windowed(z, np.zeros((99, 1), np.float32), [piece(0, 100)])
    with pytest.raises(NervehandError, match="ground truth at every hop"):
        fit_windowed(z, np.full((100, 1), np.nan, np.float32), [piece(0, 100)])
    with pytest.raises(NervehandError, match="no stretch of 54 hops"):
        fit_windowed(z, np.zeros((100, 1), np.float32), [piece(0, 50), piece(50, 100, segment=1)])
    with pytest.raises(NervehandError, match="supervised"):
        WindowedSettings(supervised=51)
