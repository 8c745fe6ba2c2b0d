"""The chain as the paper and its companions describe it, as the baseline to measure against (extra `train`).

At every hop: SciPy filters on the new samples, the 14 features by NumPy over the whole window, then the last
50 feature vectors through a dynamically quantised PyTorch CNN+GRU of 1.6 M parameters, from a zero state.
Nothing here is used to decode.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.signal
import torch
from numpy.typing import NDArray

N_STEPS = 50  # about one second of 20 ms hops


@dataclass(frozen=True, slots=True)
class PaperStyleSettings:
    """The bench configuration of the baseline; window and hop in samples after decimation."""

    n_channels: int = 16
    rate_hz: float = 10_000.0
    decimation: int = 2
    band_hz: tuple[float, float] = (25.0, 600.0)
    window_samples: int = 500
    n_outputs: int = 6
    n_gestures: int = 9


class PaperStyleNetwork(torch.nn.Module):
    """Two causal convolutions of width 3 and a GRU of 512 over (batch, 50, features): 1.6 M parameters."""

    def __init__(self, n_features: int, n_outputs: int, n_gestures: int) -> None:
        super().__init__()
        self.conv1 = torch.nn.Conv1d(n_features, 256, 3)
        self.conv2 = torch.nn.Conv1d(256, 256, 3)
        self.gru = torch.nn.GRU(256, 512, batch_first=True)
        self.head = torch.nn.Linear(512, n_outputs + n_gestures)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        x = torch.nn.functional.pad(features.transpose(1, 2), (2, 0))
        x = torch.nn.functional.pad(torch.relu(self.conv1(x)), (2, 0))
        x = torch.relu(self.conv2(x))
        hidden, _ = self.gru(x.transpose(1, 2))
        out: torch.Tensor = self.head(hidden[:, -1])
        return out


class PaperStyleChain:
    """Streams blocks of one hop; `process` returns the network's answer (n_outputs + n_gestures,)."""

    def __init__(self, settings: PaperStyleSettings, seed: int = 0) -> None:
        s = self._settings = settings
        rate_hz = s.rate_hz / s.decimation
        self._anti_alias = scipy.signal.cheby1(8, 0.05, 0.8 / s.decimation, output="sos")
        self._band = scipy.signal.butter(4, s.band_hz, "bandpass", fs=rate_hz, output="sos")
        self._anti_alias_state = np.zeros((self._anti_alias.shape[0], 2, s.n_channels))
        self._band_state = np.zeros((self._band.shape[0], 2, s.n_channels))
        self._window = np.zeros((s.window_samples, s.n_channels))
        self._vectors = np.zeros((1, N_STEPS, 14 * s.n_channels), np.float32)
        torch.manual_seed(seed)
        network = PaperStyleNetwork(14 * s.n_channels, s.n_outputs, s.n_gestures).eval()
        # torch announces another home for dynamic quantisation; the baseline means this one.
        quantize: Callable[[torch.nn.Module, set[type]], torch.nn.Module] = (
            torch.ao.quantization.quantize_dynamic
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._network = quantize(network, {torch.nn.GRU, torch.nn.Linear})

    def process(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, n_channels) microvolts, one hop long."""
        self._vectors = np.roll(self._vectors, -1, axis=1)
        self._vectors[0, -1] = self.features(samples)
        with torch.no_grad():
            return np.asarray(self._network(torch.from_numpy(self._vectors))[0].numpy())

    def features(self, samples: NDArray[np.float32]) -> NDArray[np.float64]:
        """Filter one hop and compute the window's features: the part without the network."""
        s = self._settings
        x, self._anti_alias_state = scipy.signal.sosfilt(
            self._anti_alias, samples, axis=0, zi=self._anti_alias_state
        )
        x, self._band_state = scipy.signal.sosfilt(
            self._band, x[:: s.decimation], axis=0, zi=self._band_state
        )
        self._window = np.concatenate([self._window[len(x) :], x])
        return features_of_window(self._window)


def features_of_window(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The 14 features of (n, channels), channel-major, after Table 1 of PMC8260935, in plain NumPy."""
    n = len(x)
    centred = x - x.mean(0)
    slope = np.diff(x, axis=0)
    size, squares, deviation = np.abs(x), x**2, x.std(0)
    slope_squares = (slope**2).sum(0)
    weight = np.full((n, 1), 0.5)
    weight[n // 4 : n - n // 4] = 1.0
    columns = (
        (-centred[:-1] * centred[1:] > 0).sum(0),
        (-slope[1:] * slope[:-1] > 0).sum(0),
        np.abs(slope).sum(0),
        (np.abs(slope) > deviation).sum(0),
        size.mean(0),
        squares.mean(0),
        np.sqrt(squares.mean(0)),
        np.cbrt((x**3).mean(0)),
        np.exp(np.log(np.maximum(size, 1e-9)).mean(0)),
        np.sqrt(slope_squares / (n - 1)),
        np.log(np.sqrt(np.maximum(slope_squares, 1e-18))),
        (size > deviation).sum(0),
        (size[: n // 2].sum(0) - size[n // 2 :].sum(0)) / (n / 2),
        (weight * size).mean(0),
    )
    return np.stack(columns, axis=1).ravel()
