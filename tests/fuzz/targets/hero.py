"""What a Hero hand may send: responses, whole or not."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from firmware_bridge.hands._dialect import REFUSAL_READINGS
from firmware_bridge.hands._hero import DIGITS, HeroDialect, set_digits


def seeds() -> Iterator[bytes]:
    for digits in (((0, 0.5), (1, 0.0), (2, 1.0)), ((3, 0.25), (4, 0.75))):
        payload = set_digits(digits)[5:]
        yield bytes([4 + len(payload), 0, 6, 0, len(payload)]) + payload
    yield bytes([4, 0, 6, 3, 0, 4, 0, 7, 0, 0])


def check(data: bytes) -> None:
    """Notifications, each after a byte with its length. Of a refusal the readings after it tell, and no others."""
    dialect = HeroDialect()
    readings_left = 0
    while data:
        length, data = data[0], data[1:]
        for report in dialect.receive(data[:length]):
            if report.joints is not None:
                assert report.joints.shape == (len(DIGITS),)
                assert np.isfinite(report.joints).all()
                assert bool(report.fault) == (readings_left > 0)
                readings_left -= readings_left > 0
            else:
                assert report.fault
                readings_left = REFUSAL_READINGS
        data = data[length:]
