"""How well a decoder does on the trials of rounds that it has not seen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from calibration.datasets import concatenate, pieces
from calibration.evaluation import bundle_meaning, bundle_stream
from calibration.labelling import Labelled
from calibration.report.learning import TARGETS
from calibration.running import score_decoder, seeded_orders
from decoder import engines
from decoder.bundle import Bundle

N_ORDERS = 2


def score_rounds(bundle: Bundle, parts: Sequence[Labelled], rounds: Iterable[int]) -> dict[str, float]:
    """Scores by name (METRICS), raw, over the used trials of these rounds; {} where there are none."""
    stream = concatenate([bundle_stream(bundle, part.session) for part in parts])
    wanted = set(rounds)
    test = [piece for piece in pieces(stream) if piece.repetition in wanted]
    if not test:
        return {}
    z = bundle.normalisation.apply(stream.features, stream.masked)
    unscored_s = bundle.manifest.features.settings.window_samples / bundle.coefficients.rate_hz
    summary = score_decoder(
        engines.load(bundle.step_graph),
        bundle_meaning(bundle),
        stream,
        z,
        seeded_orders(test, N_ORDERS),
        unscored_s,
    )
    return {name: value for name in TARGETS if (value := summary.mean.get(name)) is not None}
