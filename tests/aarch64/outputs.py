"""What compiled kernels and replays give on this processor: `python -m tests.aarch64.outputs FILE.npz [SESSION ...]`.

It runs on both processors, with the base install alone. The reference session, and others that are named, go through
the demo's bundle as recordings are replayed; then each stage is asked by itself about the reference session, with other
settings than the bundle's too, so that every kind of filter, feature and layer is compiled.
"""

from __future__ import annotations

import platform
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.front_end import default_front_end
from calibration.shapes import random_step_network
from calibration.stepgraph import build_step_graph, to_whole_numbers
from decoder import engines
from decoder.bundle import read_bundle
from decoder.chain import DecodeChain
from decoder.conditioning import Conditioner, ConditioningSettings
from decoder.conditioning_design import design
from decoder.features import FeatureSettings
from decoder.front_end import FrontEnd
from decoder.health import ChannelHealth
from decoder.replay import replay
from decoder.session.model import Session, iter_blocks
from decoder.session.reader import read_session
from decoder.session.source import SessionSource
from tests.replay.reference import BUNDLE, SESSION

Arrays = dict[str, NDArray[np.generic]]

BLOCK_SAMPLES = 200
INTENTS = ("sample_index", "warming", "outputs", "positions", "gesture", "probability", "healthy_fraction")
OTHER_FILTERS = ConditioningSettings(
    decimation=2, band_hz=(25.0, 600.0), notch_hz=50.0, notch_harmonics=3, rereference="bipolar"
)


def outputs(others: list[Path]) -> Arrays:
    """Every array by its stage and name."""
    session = read_session(SESSION)
    replays = {
        f"replay {path.stem}/{name}": a for path in [SESSION, *others] for name, a in replayed(path).items()
    }
    return {**replays, **conditioned(session), **features(session), **answered(session)}


def replayed(path: Path) -> Arrays:
    session = read_session(path)
    source = SessionSource(session, BLOCK_SAMPLES, is_paced=False)
    source.connect()
    parts = list(replay(source.blocks(), session.info, read_bundle(BUNDLE)))
    return {name: np.concatenate([getattr(part, name) for part in parts]) for name in INTENTS}


def conditioned(session: Session) -> Arrays:
    """Channel health as the bundle has it, and two kinds of filters behind it."""
    info = session.info
    bundle = read_bundle(BUNDLE)
    (block,) = iter_blocks(session, session.n_samples)
    healthy = ChannelHealth(info, bundle.health).process(block)
    found: Arrays = {"health/samples": healthy.samples.copy(), "health/mask": healthy.mask.copy()}
    for name, coefficients in (("bundle", bundle.coefficients), ("other", design(OTHER_FILTERS, info))):
        samples, mask, _ = Conditioner(coefficients, info.n_channels).process(
            healthy.samples, healthy.mask, healthy.first_sample
        )
        found |= {f"conditioning/{name}": samples.copy(), f"conditioning/{name}_mask": mask.copy()}
    return found


def features(session: Session) -> Arrays:
    """Each feature set, all that it has."""
    info = session.info
    nerve, muscle = default_front_end(info), default_front_end(info, band="paper")
    hop = muscle.settings.hop_samples
    envelope = FeatureSettings(hop, hop, ("root", "mean"))
    found: Arrays = {}
    for conditioning, feature_set, settings in (
        (nerve.conditioning, nerve.feature_set, nerve.settings),
        (muscle.conditioning, muscle.feature_set, muscle.settings),
        (muscle.conditioning, "envelope", envelope),
    ):
        (block,) = iter_blocks(session, session.n_samples)
        front_end = FrontEnd(info, design(conditioning, info), feature_set, settings)
        made, _ = front_end.process(block)
        columns = [name.rsplit("/", 1)[1] for name in front_end.feature_names]
        for column in dict.fromkeys(columns):
            chosen = [i for i, name in enumerate(columns) if name == column]
            found[f"features/{feature_set} {column}"] = made.values[:, chosen]
    return found


def answered(session: Session) -> Arrays:
    """The bundle's network and others with random weights, exact and as whole numbers, by both engines."""
    chain = DecodeChain(read_bundle(BUNDLE), session.info)
    (block,) = iter_blocks(session, session.n_samples)
    chain.process(block)
    assert chain.seen is not None
    z = chain.seen[0]
    networks = {name: random_step_network(name, z.shape[1], 6, 9, 0) for name in ("compact", "paper")}
    graphs = {"bundle": read_bundle(BUNDLE).step_graph}
    for name, network in networks.items():
        graphs[name] = build_step_graph(network)
        graphs[f"{name} whole"] = build_step_graph(to_whole_numbers(network))
    found: Arrays = {"features/normalised": z}
    for name, graph in graphs.items():
        for engine in ("compiled", "onnxruntime"):
            said, probabilities = engines.load(graph, engine).process(z)
            found |= {f"engine/{engine} {name}": said, f"engine/{engine} {name} probabilities": probabilities}
    return found


def main() -> None:
    start = time.monotonic()
    np.savez_compressed(Path(sys.argv[1]), **outputs([Path(word) for word in sys.argv[2:]]))
    print(
        f"outputs of {platform.machine()}, NumPy {np.__version__}, in {time.monotonic() - start:.0f} s: {sys.argv[1]}"
    )


if __name__ == "__main__":
    main()
