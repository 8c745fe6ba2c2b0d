"""The exported engine is the trained network: over a whole recorded session, FP32, with the state carried."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from calibration.datasets import session_stream  # noqa: E402
from calibration.front_end import default_front_end  # noqa: E402
from calibration.networks import StepModule, load  # noqa: E402
from calibration.stepgraph import Gru, StepNetwork, build_step_graph, to_whole_numbers  # noqa: E402
from decoder import engines  # noqa: E402
from decoder.chain import FrontEnd  # noqa: E402
from decoder.conditioning_design import design  # noqa: E402
from decoder.engines._step_kernel import GEMM, GEMM_INT8  # noqa: E402
from decoder.engines.program import compile_program  # noqa: E402
from decoder.importers import ninapro  # noqa: E402
from decoder.normalisation import fit_normalisation  # noqa: E402
from decoder.session.model import Session  # noqa: E402
from nervehand.simulate import simulated_session  # noqa: E402

LARGEST_DIFFERENCE = 1e-4
STEPS = 30


def normalised(session: Session) -> NDArray[np.float32]:
    """A session's feature vectors as a network sees them."""
    choice = default_front_end(session.info)
    front_end = FrontEnd(
        session.info, design(choice.conditioning, session.info), choice.feature_set, choice.settings
    )
    hop = choice.settings.hop_samples * choice.conditioning.decimation
    stream = session_stream(session, front_end, hop)
    compress = choice.compress(front_end.feature_names)
    return fit_normalisation(stream.features, stream.masked, compress).apply(stream.features, stream.masked)


def trained_a_little(name: str, z: NDArray[np.float32], n_outputs: int, n_gestures: int) -> StepModule:
    """A network whose weights and statistics have moved away from their start, on this very data."""
    torch.manual_seed(0)
    module = load(name).make(z.shape[1], n_outputs, n_gestures)
    optimiser = torch.optim.Adam(module.parameters(), lr=3e-3)
    module.train()
    state = module.initial_state(4)
    chunks = torch.from_numpy(z[: len(z) // 4 * 4]).reshape(4, -1, z.shape[1]).transpose(0, 1)
    for i in range(STEPS):
        start = 32 * i % (len(chunks) - 32)
        outputs, logits, state = module(chunks[start : start + 32], state)
        loss = (outputs - chunks[start : start + 32, :, :n_outputs]).square().mean() + logits.square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return module.eval()


def rounded(module: StepModule) -> StepNetwork:
    """Rounds the module's own weights as a fit does, so that torch runs what is deployed; and gives these."""
    network = to_whole_numbers(module.step_network())
    convolutions = [layer for layer in network.layers if not isinstance(layer, Gru)]
    recurrent = network.layers[-1]
    assert isinstance(recurrent, Gru)
    with torch.no_grad():
        for mine, layer in zip(module.convolutions, convolutions, strict=True):
            mine.weight.copy_(torch.from_numpy(layer.weight.reshape(mine.weight.shape)))
            mine.norm.running_mean.zero_()
            mine.norm.running_var.fill_(
                1 - mine.norm.eps
            )  # with its weight 1, the normalisation adds a bias only
            mine.norm.weight.fill_(1)
            mine.norm.bias.copy_(torch.from_numpy(layer.bias))
        for name in ("input_weight", "recurrent_weight"):
            getattr(module.recurrent, name).copy_(torch.from_numpy(getattr(recurrent, name)))
        for head, dense in ((module.outputs, network.outputs), (module.gesture, network.gesture)):
            head.weight.copy_(torch.from_numpy(dense.weight.T.copy()))
    return network


def largest_difference(
    name: str, session: Session, n_outputs: int, n_gestures: int, is_rounded: bool
) -> float:
    z = normalised(session)
    module = trained_a_little(name, z, n_outputs, n_gestures)
    network = rounded(module) if is_rounded else module.step_network()
    with torch.no_grad():
        outputs, logits, _ = module(torch.from_numpy(z)[:, None], module.initial_state(1))
    step_graph = build_step_graph(network)
    program = compile_program(step_graph)
    assert (GEMM_INT8 in program.operations[:, 0]) == (GEMM not in program.operations[:, 0]) == is_rounded
    said, probabilities = engines.load(step_graph).process(z)
    assert len(said) == len(z) > 1000
    return max(
        float(np.abs(said - outputs[:, 0].numpy()).max()),
        float(np.abs(probabilities - torch.softmax(logits[:, 0], 1).numpy()).max()),
    )


@pytest.mark.parametrize("is_rounded", [False, True])
@pytest.mark.parametrize("name", ["compact", "paper"])
def test_on_a_session_of_the_simulated_nerve(name: str, is_rounded: bool) -> None:
    session = simulated_session(6, repetitions=1)
    assert (
        largest_difference(name, session, n_outputs=6, n_gestures=9, is_rounded=is_rounded)
        <= LARGEST_DIFFERENCE
    )


@pytest.mark.slow
@pytest.mark.parametrize("is_rounded", [False, True])
@pytest.mark.parametrize("name", ["compact", "paper"])
def test_on_a_person_s_whole_recording(name: str, is_rounded: bool) -> None:
    folder = Path(os.environ.get("NERVEHAND_DATA", Path(__file__).parents[3] / "shared" / "data"))
    path = folder / "ninapro_db1_e1" / "S01.npz"
    if not path.exists():
        pytest.skip(f"{path} is not there: set NERVEHAND_DATA to the folder of real recordings")
    assert (
        largest_difference(name, ninapro.read(path), n_outputs=20, n_gestures=13, is_rounded=is_rounded)
        <= LARGEST_DIFFERENCE
    )
