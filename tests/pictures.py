"""Draws docs/health.svg anew: `python -m tests.pictures`."""

from __future__ import annotations

from pathlib import Path

from calibration.channel_loss import CAUSES, ChannelLoss, lose_channels
from nervehand.health_picture import draw
from nervehand.simulate import simulated_session

PICTURE = Path(__file__).parents[1] / "docs" / "health.svg"
FROM_S, SECONDS = 8.0, 16.0


def main() -> None:
    """Subject 5, hard: artefacts as they come, and four channels that die one after another."""
    session = simulated_session(5, 1, seconds=FROM_S + SECONDS, preset="hard")
    rate_hz = session.info.rate_hz
    losses = tuple(
        ChannelLoss(2 + 4 * k, cause, round((FROM_S + 3 + 2.5 * k) * rate_hz))
        for k, cause in enumerate(CAUSES)
    )
    draw(lose_channels(session, losses, 1), PICTURE, FROM_S, SECONDS)


if __name__ == "__main__":
    main()
