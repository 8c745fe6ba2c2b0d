"""Networks: a sequence is its steps, the exported step graph is the trained network, and sizes are as declared."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from calibration.networks import StepModule, available, load  # noqa: E402
from calibration.networks._gru import GatedRecurrentUnit  # noqa: E402
from calibration.shapes import SHAPES, random_step_network  # noqa: E402
from calibration.stepgraph import TENSORRT_8_2_OPERATORS, build_step_graph  # noqa: E402
from decoder import engines  # noqa: E402
from firmware_bridge.errors import NervehandError  # noqa: E402

NAMES = ("compact", "paper")


def a_network(name: str, n_features: int = 20, n_outputs: int = 6, n_gestures: int = 5) -> StepModule:
    """A network in evaluation mode whose normalisation has seen data."""
    torch.manual_seed(1)
    module = load(name).make(n_features, n_outputs, n_gestures)
    module.train()
    state = module.initial_state(8)
    for _ in range(5):
        _, _, state = module(2.0 * torch.randn(16, 8, n_features) + 0.3, state)
    return module.eval()


def test_every_network_is_found_by_name_and_has_a_shape_for_the_bench() -> None:
    assert available() == NAMES
    assert set(SHAPES) == set(NAMES)


def test_an_unknown_network_is_refused_by_name() -> None:
    with pytest.raises(NervehandError, match="transformer"):
        load("transformer")
    with pytest.raises(NervehandError, match="transformer"):
        random_step_network("transformer", 20, 6, 5, seed=0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("cuts", [(0, 40), (0, 1, 2, 40), (0, 17, 18, 40)])
def test_a_sequence_is_its_parts_with_the_state_carried(name: str, cuts: tuple[int, ...]) -> None:
    module = a_network(name)
    x = torch.randn(40, 3, 20)
    with torch.no_grad():
        outputs, logits, _ = module(x, module.initial_state(3))
        state, parts = module.initial_state(3), []
        for start, stop in pairwise(cuts):
            part_outputs, part_logits, state = module(x[start:stop], state)
            parts.append(torch.cat([part_outputs, part_logits], 2))
    assert torch.allclose(torch.cat(parts), torch.cat([outputs, logits], 2), atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_what_comes_later_changes_nothing_before(name: str) -> None:
    module = a_network(name)
    x = torch.randn(30, 2, 20)
    later = x.clone()
    later[20:] += 1.0
    with torch.no_grad():
        (_, a, _), (_, b, _) = (module(v, module.initial_state(2)) for v in (x, later))
    assert torch.equal(a[:20], b[:20])
    assert not torch.allclose(a[20:], b[20:])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("n_features", "n_outputs"), [(20, 22), (224, 6), (16, 0)])
def test_the_step_graph_is_the_network(name: str, n_features: int, n_outputs: int) -> None:
    module = a_network(name, n_features, n_outputs)
    x = torch.randn(200, 1, n_features)
    with torch.no_grad():
        outputs, logits, _ = module(x, module.initial_state(1))
    engine = engines.load(build_step_graph(module.step_network()))
    said, probabilities = engine.process(x[:, 0].numpy())
    assert np.abs(probabilities - torch.softmax(logits[:, 0], 1).numpy()).max() <= 1e-5
    if n_outputs:
        assert np.abs(said - outputs[:, 0].numpy()).max() <= 1e-4
    else:
        assert outputs is None
        assert said.shape == (200, 0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n_features", [20, 64, 65, 224])
def test_the_bench_times_the_layers_that_training_makes(name: str, n_features: int) -> None:
    trained = load(name).make(n_features, 6, 13).eval().step_network()
    timed = random_step_network(name, n_features, 6, 13, seed=0)
    assert [m.shape for m in timed.matrices()] == [m.shape for m in trained.matrices()]
    assert timed.n_parameters == trained.n_parameters


@pytest.mark.parametrize(("name", "n_features", "fewest", "most"), [
    ("compact", 20, 0.3e6, 0.45e6),
    ("compact", 224, 0.3e6, 0.45e6),
    ("paper", 224, 1.5e6, 1.7e6),
])  # fmt: skip
def test_networks_have_the_size_that_they_declare(
    name: str, n_features: int, fewest: float, most: float
) -> None:
    assert fewest <= random_step_network(name, n_features, 22, 13, seed=0).n_parameters <= most


@pytest.mark.parametrize("name", NAMES)
def test_a_step_uses_only_operators_of_tensorrt_8_2(name: str) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load_from_string(build_step_graph(a_network(name, 224).step_network()))
    assert {node.op_type for node in model.graph.node} <= TENSORRT_8_2_OPERATORS
    assert model.opset_import[0].version == 13


def test_the_recurrent_unit_is_torch_s() -> None:
    torch.manual_seed(0)
    ours, theirs = GatedRecurrentUnit(7, 11), torch.nn.GRU(7, 11)
    with torch.no_grad():
        theirs.weight_ih_l0.copy_(ours.input_weight.t())
        theirs.weight_hh_l0.copy_(ours.recurrent_weight.t())
        theirs.bias_ih_l0.copy_(ours.input_bias)
        theirs.bias_hh_l0.copy_(ours.recurrent_bias)
    x, first = torch.randn(9, 4, 7), torch.randn(4, 11)
    expected, _ = theirs(x, first[None])
    assert torch.allclose(ours(x, first), expected, atol=1e-6)


def test_the_written_out_gradient_is_the_numerical_one() -> None:
    torch.manual_seed(0)
    unit = GatedRecurrentUnit(3, 4).double()
    x = torch.randn(5, 2, 3, dtype=torch.float64, requires_grad=True)
    first = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
    weights = tuple(unit.parameters())

    def run(x: torch.Tensor, first: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
        names = [name for name, _ in unit.named_parameters()]
        called: torch.Tensor = torch.func.functional_call(
            unit, dict(zip(names, parameters, strict=True)), (x, first)
        )
        return called

    assert torch.autograd.gradcheck(run, (x, first, *weights))
