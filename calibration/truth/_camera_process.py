"""What runs in the camera's own environment (mediapipe needs numpy < 2): pictures in, landmarks of a hand out.

Started by `camera.py` as a script, by that environment's interpreter; imports nothing of ours and keeps to Python 3.10.
Standard output is JSON lines: `{"ready": {"rate_hz", "width", "height"}}`, then one object for each picture,
`{"time_s", "points": [[x, y, z] * 21] or null, "score"}`, and `{"end": true}` after a file's last one. Points are
MediaPipe's "world landmarks": metres from the hand's middle, x to the right of the picture, y down, z away from the
camera; what a mirror turned over is turned back. `{"error": text, "missing": bool}` is the last line where something is
wrong; a library is missing, or another thing is. Ends when its standard input is closed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Protocol

FILE_RATE_HZ = 30.0
"""Of a folder of pictures, and of a film that does not say."""

STEP = 0.2
"""How far, in widths of the picture, a hand may go from one picture to the next."""
FORGET_S = 0.5
"""A hand that was not seen for so long is looked for by its name again."""
TRUST_FIRST, TRUST_MOST = 10, 30
"""How many more pictures with the wrong name than with the right one are believed, at first and at last."""

PICTURES = (".png", ".jpg", ".jpeg", ".bmp")


class WrongInputError(Exception):
    """What to tell the person who started this."""


class MissingLibraryError(WrongInputError):
    """This is not the environment that was meant."""


class _Picture(Protocol):
    shape: tuple[int, ...]


class _Landmark(Protocol):
    x: float
    y: float
    z: float


class _Landmarks(Protocol):
    landmark: list[_Landmark]


class _Class(Protocol):
    label: str
    score: float


class _Classes(Protocol):
    classification: list[_Class]


class _Found(Protocol):
    """What is used of MediaPipe's answer."""

    multi_hand_landmarks: list[_Landmarks] | None
    multi_hand_world_landmarks: list[_Landmarks] | None
    multi_handedness: list[_Classes]


def main() -> None:
    options = _options()
    threading.Thread(target=_end_with_the_one_who_started, daemon=True).start()
    try:
        _run(options)
    except WrongInputError as error:
        _say({"error": str(error), "missing": isinstance(error, MissingLibraryError)})
        sys.exit(1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("source", help="a camera's number or path, a film, or a folder of pictures")
    parser.add_argument("--side", choices=("left", "right"), default="right")
    parser.add_argument("--mirrored", action="store_true", help="the pictures are as in a mirror")
    parser.add_argument("--confidence", type=float, default=0.5)
    return parser.parse_args()


def _run(options: argparse.Namespace) -> None:
    try:
        cv2, mediapipe = importlib.import_module("cv2"), importlib.import_module("mediapipe")
    except ImportError as error:
        raise MissingLibraryError(f"its environment lacks {error.name or error}") from None
    hands = mediapipe.solutions.hands.Hands(
        static_image_mode=False,
        max_num_hands=2,
        model_complexity=1,
        min_detection_confidence=options.confidence,
        min_tracking_confidence=options.confidence,
    )
    followed = Followed(_label(options.side, options.mirrored))
    x_sign = -1.0 if options.mirrored else 1.0
    for time_s, picture in _pictures(cv2, options.source):
        found = hands.process(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
        hands_seen = _hands(found)
        chosen = followed.chosen(time_s, hands_seen)
        points = None if chosen is None else _points(found, chosen, x_sign)
        score = 0.0 if chosen is None else round(hands_seen[chosen].score, 3)
        _say({"time_s": time_s, "points": points, "score": score})
    _say({"end": True})


def _label(side: str, mirrored: bool) -> str:
    """What MediaPipe calls this hand: it takes pictures to be as in a mirror."""
    if not mirrored:
        side = "left" if side == "right" else "right"
    return side.capitalize()


@dataclass(frozen=True)
class Hand:
    """One that the model found: what it calls it, how sure it is, and where its wrist is, in widths of the picture."""

    label: str
    score: float
    place: tuple[float, float]


class Followed:
    """The wanted hand from picture to picture: known by what the model calls it, then by its place, since the model
    takes a hand for the other one at times. One that is called wrongly for longer was the wrong one."""

    def __init__(self, wanted: str) -> None:
        self._wanted = wanted
        self._place: tuple[float, float] | None = None
        self._trust = 0
        self._seen_s = 0.0

    def chosen(self, time_s: float, hands: list[Hand]) -> int | None:
        """The index of the wanted hand; None where it is not among these."""
        if self._place is not None and time_s - self._seen_s > FORGET_S:
            self._place = None
        if self._place is not None and hands:
            x, y = self._place
            away = [math.hypot(hand.place[0] - x, hand.place[1] - y) for hand in hands]
            nearest = min(range(len(hands)), key=away.__getitem__)
            if away[nearest] <= STEP:
                self._trust = min(
                    TRUST_MOST, self._trust + (1 if hands[nearest].label == self._wanted else -1)
                )
                if self._trust > 0:
                    return self._taken(time_s, hands, nearest)
                self._place = None
        named = [i for i, hand in enumerate(hands) if hand.label == self._wanted]
        if self._place is not None or not named:
            return None
        self._trust = TRUST_FIRST
        return self._taken(time_s, hands, max(named, key=lambda i: hands[i].score))

    def _taken(self, time_s: float, hands: list[Hand], i: int) -> int:
        self._place, self._seen_s = hands[i].place, time_s
        return i


def _hands(found: _Found) -> list[Hand]:
    if not found.multi_hand_landmarks:
        return []
    hands = []
    for landmarks, classes in zip(found.multi_hand_landmarks, found.multi_handedness, strict=True):
        wrist, named = landmarks.landmark[0], classes.classification[0]
        hands.append(Hand(named.label, float(named.score), (wrist.x, wrist.y)))
    return hands


def _points(found: _Found, i: int, x_sign: float) -> list[list[float]]:
    landmarks = (found.multi_hand_world_landmarks or [])[i].landmark
    return [[round(x_sign * one.x, 5), round(one.y, 5), round(one.z, 5)] for one in landmarks]


def _pictures(cv2: ModuleType, source: str) -> Iterator[tuple[float, _Picture]]:
    """Pictures with their times: of a camera by the host's monotonic clock, of a file from 0 on."""
    if os.path.isdir(source):
        yield from _folder(cv2, source)
        return
    is_camera = source.isdigit() or source.startswith("/dev/")
    if not is_camera and not os.path.isfile(source):
        raise WrongInputError("there is no such film or folder of pictures")
    if source.startswith("/dev/") and not os.path.exists(source):
        raise WrongInputError("there is no such camera: plug it in")
    capture = cv2.VideoCapture(int(source) if source.isdigit() else source)
    if not capture.isOpened():
        raise WrongInputError(
            "it does not open: is it plugged in, and free?" if is_camera else "it is no film"
        )
    rate_hz = capture.get(cv2.CAP_PROP_FPS)
    rate_hz = rate_hz if 1.0 <= rate_hz <= 1000.0 else FILE_RATE_HZ
    size = capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
    if is_camera:
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # the newest picture, not the oldest that waits
    _ready(rate_hz, int(size[0]), int(size[1]))
    number = 0
    try:
        while True:
            is_there, picture = capture.read()
            now_s = time.monotonic()
            if not is_there:
                if is_camera:
                    raise WrongInputError("it gives no more pictures")
                return
            yield (now_s if is_camera else number / rate_hz), picture
            number += 1
    finally:
        capture.release()


def _folder(cv2: ModuleType, source: str) -> Iterator[tuple[float, _Picture]]:
    names = sorted(name for name in os.listdir(source) if name.lower().endswith(PICTURES))
    if not names:
        raise WrongInputError(f"it holds no pictures ({', '.join(PICTURES)})")
    for number, name in enumerate(names):
        picture = cv2.imread(os.path.join(source, name))
        if picture is None:
            raise WrongInputError(f"{name} in it is no picture")
        if number == 0:
            _ready(FILE_RATE_HZ, picture.shape[1], picture.shape[0])
        yield number / FILE_RATE_HZ, picture


def _ready(rate_hz: float, width: int, height: int) -> None:
    _say({"ready": {"rate_hz": rate_hz, "width": width, "height": height}})


def _say(message: dict[str, object]) -> None:
    print(json.dumps(message), flush=True)


def _end_with_the_one_who_started() -> None:
    while os.read(0, 4096):  # not sys.stdin, whose lock a thread must not hold when the interpreter ends
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
