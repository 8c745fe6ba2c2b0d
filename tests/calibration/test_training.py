"""The fit loop: it learns, says how far it is, stops when asked, repeats itself, and refuses what teaches nothing."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from calibration.datasets import Piece  # noqa: E402
from calibration.stepgraph import StepNetwork, build_step_graph  # noqa: E402
from calibration.training import Progress, TrainingSet, one_cycle, train  # noqa: E402
from decoder import engines  # noqa: E402
from firmware_bridge.errors import NervehandError  # noqa: E402

N_TRIALS, HOPS = 24, 120
STEADY = np.tile(np.arange(HOPS) % 40 >= 15, N_TRIALS)
"""Hops at least 0.6 s after a change."""


def a_training_set(seed: int = 0) -> TrainingSet:
    """Trials of 4.8 s: rest, one of three movements, rest. Each movement drives its own two features and a joint."""
    rng = np.random.default_rng(seed)
    n = N_TRIALS * HOPS
    label = np.zeros((N_TRIALS, HOPS), np.int64)
    label[:, 40:80] = (np.arange(N_TRIALS) % 3 + 1)[:, None]
    label = label.reshape(n)
    z = rng.standard_normal((n, 6)).astype(np.float32)
    for gesture in (1, 2, 3):
        z[label == gesture, 2 * gesture - 2 : 2 * gesture] += 3.0
    truth = np.stack([30.0 * (label == 1), 5.0 + 2.0 * (label == 2)], 1).astype(np.float32)
    pieces = tuple(
        Piece(i * HOPS, (i + 1) * HOPS, i, i % 3 + 1, i // 3 + 1, 0, False) for i in range(N_TRIALS)
    )
    return TrainingSet(z, label, truth, pieces, hop_s=0.04, n_gestures=4)


def weights_of(network: StepNetwork) -> list[np.ndarray]:
    return network.matrices()


@pytest.fixture(scope="module")
def learned() -> StepNetwork:
    return train(a_training_set(), "compact", seed=1, n_steps=40).step_network


def test_it_learns_gestures_and_truth_in_the_truth_s_units(learned: StepNetwork) -> None:
    unseen = a_training_set(seed=9)
    outputs, probabilities = engines.load(build_step_graph(learned)).process(unseen.z)
    assert (probabilities.argmax(1) == unseen.label)[STEADY].mean() > 0.95
    assert unseen.truth is not None
    error = np.abs(outputs - unseen.truth)[STEADY].mean(0)
    assert error[0] < 3.0  # of 30
    assert error[1] < 0.2  # of 2, beside an offset of 5


def test_a_masked_channel_costs_little(learned: StepNetwork) -> None:
    unseen = a_training_set(seed=9)
    z = unseen.z.copy()
    z[:, 2] = 0.0  # what a masked feature becomes: its training mean
    _, probabilities = engines.load(build_step_graph(learned)).process(z)
    assert (probabilities.argmax(1) == unseen.label)[STEADY].mean() > 0.85


def test_trained_to_lose_channels_it_goes_on_by_the_faint_ones() -> None:
    def uneven(seed: int) -> TrainingSet:
        data = a_training_set(seed)
        z = data.z.copy()
        for gesture in (1, 2, 3):
            z[data.label == gesture, 2 * gesture - 2] += 5.0  # one channel says it loudly, the other hardly
            z[data.label == gesture, 2 * gesture - 1] -= 1.5
        return replace(data, z=z)

    unseen = uneven(seed=9)
    deaf = unseen.z.copy()
    deaf[:, [0, 2, 4]] = 0.0
    right = {}
    for loses_channels in (False, True):
        network = train(
            replace(uneven(0), loses_channels=loses_channels), "compact", seed=1, n_steps=60
        ).step_network
        for name, z in (("whole", unseen.z), ("deaf", deaf)):
            _, probabilities = engines.load(build_step_graph(network)).process(z)
            right[name, loses_channels] = (probabilities.argmax(1) == unseen.label)[STEADY].mean()
    assert right["whole", True] > 0.98
    assert right["deaf", True] > 0.9
    assert right["deaf", False] < 0.8


def test_the_same_seed_and_threads_give_the_same_weights_and_another_seed_does_not() -> None:
    a, b, c = (
        weights_of(train(a_training_set(), "compact", seed=seed, threads=1, n_steps=4).step_network)
        for seed in (7, 7, 8)
    )
    assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
    assert not np.array_equal(a[0], c[0])


def test_torch_s_own_generator_and_threads_are_left_as_they_were() -> None:
    torch.manual_seed(5)
    threads, expected = torch.get_num_threads(), torch.random.get_rng_state()
    train(a_training_set(), "compact", threads=1, n_steps=2)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), expected)


def test_progress_counts_up_to_the_last_step_with_loss_and_time_left() -> None:
    said: list[Progress] = []
    train(a_training_set(), "compact", on_progress=said.append, n_steps=12)
    assert [p.step for p in said] == [5, 10, 12]
    assert all(p.n_steps == 12 and np.isfinite(p.loss) and p.elapsed_s > 0 for p in said)
    assert said[0].left_s > 0
    assert said[-1].left_s == 0


@pytest.mark.parametrize("stop_at", [1, 6, 11])
def test_a_stopped_fit_keeps_what_it_has(stop_at: int) -> None:
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked >= stop_at

    said: list[Progress] = []
    trained = train(a_training_set(), "compact", on_progress=said.append, should_stop=should_stop, n_steps=12)
    assert trained.stopped_early
    assert trained.metrics["steps"] == stop_at
    assert said[-1].step == stop_at
    _, probabilities = engines.load(build_step_graph(trained.step_network)).process(a_training_set().z[:20])
    assert np.isfinite(probabilities).all()


def test_without_truth_there_is_no_outputs_head() -> None:
    data = replace(a_training_set(), truth=None)
    assert train(data, "compact", n_steps=3).step_network.outputs is None


def test_without_labels_it_learns_the_truth_alone() -> None:
    data = a_training_set()
    data = replace(data, label=np.full_like(data.label, -1), n_gestures=1)
    trained = train(data, "compact", n_steps=40)
    outputs, _ = engines.load(build_step_graph(trained.step_network)).process(data.z)
    assert data.truth is not None
    assert np.corrcoef(outputs[:, 0], data.truth[:, 0])[0, 1] > 0.9


def test_unknown_labels_and_truth_teach_nothing() -> None:
    data = a_training_set()
    assert data.truth is not None
    label, truth = data.label.copy(), data.truth.copy()
    half = slice(0, N_TRIALS // 2 * HOPS)
    label[half], truth[half] = -1, np.nan
    trained = train(replace(data, label=label, truth=truth), "compact", n_steps=20)
    assert np.isfinite(trained.metrics["final_loss"])
    assert trained.step_network.outputs is not None
    assert np.isfinite(trained.step_network.outputs.weight).all()


def test_what_teaches_nothing_is_refused() -> None:
    data = a_training_set()
    with pytest.raises(NervehandError, match="one class only"):
        train(replace(data, label=np.zeros_like(data.label), truth=None), "compact", n_steps=1)
    with pytest.raises(NervehandError, match="no trial"):
        train(replace(data, pieces=()), "compact", n_steps=1)
    with pytest.raises(NervehandError, match="truth column"):
        train(replace(data, truth=np.full((len(data.z), 1), np.nan, np.float32)), "compact", n_steps=1)
    with pytest.raises(NervehandError, match="9"):
        replace(data, label=np.full_like(data.label, 9))
    with pytest.raises(NervehandError, match="6 columns"):
        replace(data, features_per_channel=4)
    with pytest.raises(NervehandError, match="not finite"):
        replace(data, z=np.full_like(data.z, np.inf))


def test_the_learning_rate_rises_to_its_peak_and_falls_to_its_last_part() -> None:
    rates = [one_cycle(part) for part in np.linspace(0, 1, 101)]
    peak = int(np.argmax(rates))
    assert rates[peak] == pytest.approx(1.0)
    assert all(a <= b for a, b in pairwise(rates[:peak]))
    assert all(a >= b for a, b in pairwise(rates[peak:]))
    assert rates[-1] == pytest.approx(0.1)
