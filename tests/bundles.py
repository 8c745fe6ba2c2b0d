"""Complete bundles with seeded random weights, for tests that need a decoder but no training."""

from __future__ import annotations

import numpy as np

from calibration.front_end import default_front_end
from calibration.shapes import random_step_network
from calibration.stepgraph import build_step_graph
from decoder.bundle import Bundle, FeatureSpec, Manifest, OutputSpec, StreamSpec, Training
from decoder.chain import FrontEnd
from decoder.conditioning_design import design
from decoder.decision import DecisionSettings, PositionMap
from decoder.health_settings import default_health
from decoder.normalisation import CLIP, fit_normalisation
from firmware_bridge.hand import DOF_NAMES, N_DOF
from firmware_bridge.stream import SignalBlock, StreamInfo

GESTURES = ("rest", "one", "two")


def random_bundle(
    info: StreamInfo, samples: np.ndarray, scale_uv: float = 1.0, n_outputs: int = N_DOF, seed: int = 0
) -> Bundle:
    """A decoder for `info`, normalised on `samples`; outputs named like the degrees of freedom."""
    choice = default_front_end(info)
    coefficients = design(choice.conditioning, info)
    front_end = FrontEnd(info, coefficients, choice.feature_set, choice.settings)
    found, _ = front_end.process(SignalBlock(samples, 0, scale_uv=scale_uv))
    compress = choice.compress(front_end.feature_names)
    normalisation = fit_normalisation(found.values, found.masked, compress)
    network = random_step_network("compact", normalisation.n_features, n_outputs, len(GESTURES), seed)
    manifest = Manifest(
        format_version=1,
        stream=StreamSpec(
            kind=info.kind,
            rate_hz=info.rate_hz,
            channel_names=info.channel_names,
            electrodes=info.electrodes,
            nerve=info.nerve,
        ),
        subject="somebody",
        side="right",
        array="array-1",
        conditioning=choice.conditioning,
        features=FeatureSpec(set=choice.feature_set, settings=choice.settings, compress=compress, clip=CLIP),
        outputs=tuple(
            OutputSpec(name=name, unit="position", lower=-1.0, upper=1.0) for name in DOF_NAMES[:n_outputs]
        ),
        gestures=GESTURES,
        decision=DecisionSettings(),
        warmup_s=0.2,
        training=Training(
            sessions=(),
            network="compact",
            n_parameters=network.n_parameters,
            seed=seed,
            nervehand_version="test",
        ),
        health=default_health(info.kind),
    )
    positions = PositionMap(
        np.eye(N_DOF, n_outputs, dtype=np.float32),
        np.zeros(N_DOF, np.float32),
        np.zeros((len(GESTURES), N_DOF), np.float32),
    )
    return Bundle(manifest, coefficients, normalisation, positions, build_step_graph(network))
