"""The figures of the check before use in docs/hands.md: `python -m tests.preuse_figures`, about six minutes."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.fit import FitOptions, SourceSession, fit
from decoder.bundle import Bundle, read_bundle
from decoder.chain import DecodeChain
from decoder.decision import REST
from decoder.preuse import ChannelComparison
from firmware_bridge.nerve.motion import SteeredMotion
from firmware_bridge.nerve.physiology import DEFAULT
from firmware_bridge.nerve.subject import SCALE_UV, SimulatedSubject
from firmware_bridge.preuse_check import ChannelReading, CheckSettings
from firmware_bridge.stream import SignalBlock
from nervehand.simulate import simulated_session

SUBJECTS, DAYS = (1, 2, 3, 4, 6, 9), (0, 1, 3, 7)
RATE_HZ, SECONDS = 10_000.0, 10
CHANNELS = (0, 5, 11)
FAULTS = ("dead", "railed", "gain x 10", "gain / 10", "swapped")
REST_BAND = 0.15
BUNDLE = Path(__file__).resolve().parents[1] / "nervehand" / "bundles" / "demo.nhb"


def learned(subject: int, repetitions: int) -> Bundle:
    """What is known of the subject's features on day 0 is whole; of the network one step, which nobody asks here."""
    source = SourceSession(simulated_session(subject, repetitions), "0" * 64)
    return fit([source], FitOptions(threads=1), should_stop=lambda: True)


def at_rest(subject: int, day: int, seconds: int) -> NDArray[np.int16]:
    """The subject doing nothing, (n, 16) counts."""
    motion = SteeredMotion(DEFAULT, subject, day, RATE_HZ)
    person = SimulatedSubject(subject, day, motion=motion, rate_hz=RATE_HZ)
    second = round(RATE_HZ)
    return np.concatenate([person.samples(i * second, second) for i in range(seconds)])


def faulty(counts: NDArray[np.int16], channel: int, fault: str) -> NDArray[np.int16]:
    """A copy in which that channel is not as it was in training."""
    changed = counts.copy()
    own = counts[:, channel].astype(np.int64)
    match fault:
        case "dead":
            new = np.random.default_rng(0).normal(0, 5.0 / SCALE_UV, len(own))
        case "railed":
            new = np.full(len(own), 32767)
        case "gain x 10":
            new = 10 * own
        case "gain / 10":
            new = own / 10
        case _:
            other = (channel + 3) % counts.shape[1]
            new, changed[:, other] = counts[:, other], counts[:, channel]
    changed[:, channel] = np.clip(np.round(new), -32768, 32767)
    return changed


def readings(bundle: Bundle, counts: NDArray[np.int16]) -> tuple[ChannelReading, ...]:
    """Each channel beside the training's rest."""
    info = simulated_session(1, 1, seconds=0.2).info
    chain, comparison = DecodeChain(bundle, info), ChannelComparison(bundle)
    for i in range(0, len(counts), 1000):
        intents = chain.process(SignalBlock(counts[i : i + 1000], i, scale_uv=SCALE_UV))
        assert chain.seen is not None
        z, masked = chain.seen
        comparison.add(z[~intents.warming], masked[~intents.warming])
    return comparison.readings()


def away(bundle: Bundle, counts: NDArray[np.int16]) -> NDArray[np.bool_]:
    """For each hop that is not warming whether the demo's decoder is away from rest, which it should not be."""
    chain = DecodeChain(bundle, simulated_session(1, 1, seconds=0.2).info)
    found = []
    for i in range(0, len(counts), 1000):
        intents = chain.process(SignalBlock(counts[i : i + 1000], i, scale_uv=SCALE_UV))
        is_away = (np.abs(intents.positions).max(1, initial=0.0) > REST_BAND) | (intents.gesture != REST)
        found.append(is_away[~intents.warming])
    return np.concatenate(found)


def main() -> None:
    by_day, by_fault, masked = defaultdict(list), defaultdict(list), defaultdict(list)
    for subject in SUBJECTS:
        bundle = learned(subject, 3)
        for day in DAYS:
            counts = at_rest(subject, day, SECONDS)
            by_day[day] += [one.distance for one in readings(bundle, counts)]
            for fault in FAULTS if day < 2 else ():
                for channel in CHANNELS:
                    found = readings(bundle, faulty(counts, channel, fault))[channel]
                    by_fault[fault].append(found.distance)
                    masked[fault].append(found.masked)
    for day, distances in by_day.items():
        print(f"day {day}: {len(distances)} channels, largest distances {np.sort(distances)[-3:].round(2)}")
    for fault, distances in by_fault.items():
        print(
            f"{fault}: {len(distances)}, smallest distance {min(distances):.2f}, least masked {min(masked[fault]):.2f}"
        )
    demo = read_bundle(BUNDLE)
    most = CheckSettings().most_away
    for day in DAYS:
        hops = away(demo, at_rest(1, day, 3 * SECONDS + 1))
        shares = [part.mean() for part in np.array_split(hops, 3)]
        print(f"demo on day {day}: away from rest {np.round(shares, 3)}; passes up to {most}")


if __name__ == "__main__":
    main()
