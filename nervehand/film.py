"""`nervehand hand film`: a recorded session moves a physical hand, as an animation or a strip of pictures."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from decoder.bundle import read_bundle
from decoder.session.reader import read_session
from firmware_bridge.errors import NervehandError
from firmware_bridge.hands.virtual_protocol import VIRTUAL_HAND
from firmware_bridge.physics import GraspObject, Side, make
from nervehand.output import naming, print_json, saying

THINGS: dict[str, GraspObject | None] = {
    "cylinder": GraspObject(),
    "ball": GraspObject("ball", (0.033,), 0.1),
    "box": GraspObject("box", (0.05, 0.05, 0.13), 0.2),
    "none": None,
}
PICTURES_PER_S = 12.5  # 80 ms: GIF counts in hundredths of a second
_LEAD_S = 1.5
_STRIP_COLUMNS = 3


@dataclass(frozen=True, slots=True)
class FilmSettings:
    """What to film: `start_s` None begins a little before the first grasp; `side` "" is the session's own.

    `frames` is how many pictures a strip has; `size` is a picture's width and height in pixels, without its caption.
    """

    start_s: float | None = None
    seconds: float = 5.0
    side: str = ""
    thing: str = "cylinder"
    size: tuple[int, int] = (400, 300)
    frames: int = 6


def picture_size(text: str) -> tuple[int, int]:
    """480x360 as two numbers."""
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise NervehandError(f"size is {text!r}: give width x height in pixels, 400x300 say")
    return int(width), int(height)


def run_film(
    out: Path,
    session_path: Path,
    bundle_path: Path,
    settings: FilmSettings,
    *,
    any_wearer: bool,
    as_json: bool,
) -> None:
    """Write OUT, a .gif or a .png, and say what is on it."""
    _check(out, settings)
    from nervehand.film_replay import FilmReplay, decoded, first_grasp_s

    bundle, session = read_bundle(bundle_path), read_session(session_path)
    rate_hz = session.info.rate_hz
    length_s = session.n_samples / rate_hz
    with naming(bundle_path, session_path), saying("decoding the session", as_json):
        bundle.require_stream(session.info)
        if not any_wearer:
            bundle.require_wearer(session.meta.subject, session.meta.side, session.meta.array)
        start_s = settings.start_s
        if start_s is not None and start_s >= length_s:
            raise NervehandError(f"--start is {start_s:g} s, and the session lasts {length_s:.1f} s")
        intents = decoded(session, bundle, None if start_s is None else start_s + settings.seconds)
        if start_s is None:
            grasp_s = first_grasp_s(intents, session.first_sample, rate_hz)
            start_s = max(0.0, (grasp_s or 0.0) - _LEAD_S)
        seconds = min(settings.seconds, length_s - start_s)

    from firmware_bridge.physics.camera import Camera
    from nervehand.film_picture import captioned, write_animation, write_strip

    hand = make(VIRTUAL_HAND, 0, _side(settings.side or session.meta.side), THINGS[settings.thing])
    is_strip = out.suffix.lower() == ".png"
    n = settings.frames if is_strip else max(2, round(seconds * PICTURES_PER_S))
    times_s = [start_s + seconds * (k + 0.5) / n for k in range(n)]
    film = FilmReplay(session, bundle, intents, hand, start_s, seconds)
    pages, most_n, highest_m = [], 0.0, 0.0
    with saying(f"drawing {n} pictures", as_json), Camera(hand.scene, *settings.size) as camera:
        for moment in film.moments(times_s):
            pages.append(captioned(camera.picture(), moment))
            most_n = max(most_n, float(moment.forces_n[:5].sum()))
            highest_m = max(highest_m, moment.lifted_m)
    if is_strip:
        write_strip(pages, out, min(_STRIP_COLUMNS, n))
    else:
        write_animation(pages, out, PICTURES_PER_S)
    told = {
        "out": str(out),
        "start_s": round(start_s, 3),
        "seconds": round(seconds, 3),
        "pictures": n,
        "bytes": out.stat().st_size,
        "most_grip_n": round(most_n, 1),
        "lifted_m": round(highest_m, 3),
    }
    if as_json:
        print_json(told)
        return
    print(
        f"{out}: {n} pictures of {start_s:.1f} to {start_s + seconds:.1f} s, {told['bytes']} bytes;"
        f" largest grip {most_n:.0f} N, lifted by up to {100 * highest_m:.1f} cm"
    )


def _side(side: str) -> Side:
    """The side of the hand; a session that does not say its side is shown with a right hand."""
    return "left" if side == "left" else "right"


def _check(out: Path, settings: FilmSettings) -> None:
    """Raise before any work is done for what cannot be filmed."""
    if out.suffix.lower() not in (".gif", ".png"):
        raise NervehandError(f"{out}: give a name that ends in .gif (a film) or .png (a strip of pictures)")
    if settings.thing not in THINGS:
        raise NervehandError(f"there is no {settings.thing!r} to grasp: use {', '.join(THINGS)}")
    if settings.side not in ("", "right", "left"):
        raise NervehandError(f"there is no {settings.side!r} hand: use right or left")
    missing = [
        name for name, module in (("MuJoCo", "mujoco"), ("Pillow", "PIL")) if find_spec(module) is None
    ]
    if missing:
        raise NervehandError(
            f"a film needs {' and '.join(missing)}, not installed here: pip install 'nervehand[physics]'"
        )
