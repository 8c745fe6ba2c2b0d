"""A session through the decoder, the gate and a physical hand, filmed: the object is lifted while a fist is meant."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from decoder.intent import Intents
from decoder.session.model import Session
from decoder.session.writer import write_session
from firmware_bridge.errors import NervehandError
from nervehand import film
from nervehand.demo import demo_bundle
from nervehand.film import picture_size
from nervehand.simulate import simulated_session
from tests.nervehand.conftest import Run

BUNDLE = Path(film.__file__).parent / "bundles" / "demo.nhb"
FIST_S, REST_S = 7.5, 9.3
"""When the simulated subject closes and opens its hand on this day."""

needs_physics = pytest.mark.skipif(find_spec("mujoco") is None, reason="needs the extra physics")


@pytest.fixture(scope="module")
def session() -> Session:
    return simulated_session(1, 1, seconds=11.0, day=1)


@pytest.fixture(scope="module")
def intents(session: Session) -> Intents:
    pytest.importorskip("mujoco", reason="needs the extra physics")
    from nervehand.film_replay import decoded

    return decoded(session, demo_bundle(), None)


@pytest.fixture(scope="module")
def session_file(session: Session, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "session.nwb"
    write_session(session, path)
    return path


@pytest.fixture
def needs_pictures() -> None:
    """Skip where no picture can be drawn: without the extra, or without OpenGL."""
    pytest.importorskip("mujoco", reason="needs the extra physics")
    from firmware_bridge.physics.camera import _open

    try:
        _open(16, 16).free()
    except NervehandError as error:
        pytest.skip(str(error))


@needs_physics
def test_the_hand_lifts_the_object_while_a_fist_is_decoded_and_drops_it_at_rest(
    session: Session, intents: Intents
) -> None:
    from firmware_bridge.hands.virtual_protocol import VIRTUAL_HAND
    from firmware_bridge.physics import GraspObject, make
    from nervehand.film_replay import FilmReplay, first_grasp_s

    bundle = demo_bundle()
    grasp_s = first_grasp_s(intents, session.first_sample, session.info.rate_hz)
    assert grasp_s is not None
    assert FIST_S < grasp_s < FIST_S + 0.6

    def play(*times_s: float) -> list[np.ndarray]:
        hand = make(VIRTUAL_HAND, 0, "right", GraspObject())
        replayed = FilmReplay(session, bundle, intents, hand, 7.0, 3.0)
        seen = []
        for moment in replayed.moments(list(times_s)):
            assert moment.gate == "armed"
            assert moment.cue == ("fist" if moment.time_s == 9.0 else "rest")
            seen.append(np.array([moment.forces_n[:5].sum(), moment.lifted_m, *hand.object_m]))
        return seen

    before, held, after = seen = play(7.0, 9.0, 10.0)
    assert before[0] == 0
    assert held[0] > 20
    assert held[1] > 0.05
    assert held[4] - before[4] > 0.04  # the object went up with the hand
    assert held[4] - after[4] > 0.04
    np.testing.assert_array_equal(
        seen[:2], play(7.0, 9.0)
    )  # a recorded session gives the same film every time


@needs_physics
def test_a_decoder_that_is_still_warming_moves_nothing(session: Session, intents: Intents) -> None:
    from firmware_bridge.hands.virtual_protocol import VIRTUAL_HAND
    from firmware_bridge.physics import make
    from nervehand.film_replay import FilmReplay

    bundle = demo_bundle()
    warming = replace(intents, warming=np.ones(len(intents), np.bool_))
    hand = make(VIRTUAL_HAND, 0)
    (moment,) = FilmReplay(session, bundle, warming, hand, 8.0, 1.0).moments([8.5])
    assert "decoder warming" in moment.gate or "waiting" in moment.gate
    np.testing.assert_allclose(moment.positions, 0, atol=0.01)


@needs_physics
def test_the_first_grasp_is_where_all_digits_are_flexed_and_the_decoder_is_warm() -> None:
    from nervehand.film_replay import first_grasp_s

    positions = np.zeros((5, 6), np.float32)
    positions[1, :5], positions[3, :5] = 0.9, 0.9
    warming = np.array([True, True, False, False, False])
    empty = np.zeros(5, np.float32)
    intents = Intents(
        np.arange(99, 599, 100), positions, positions, np.zeros(5, np.int16), empty, warming, empty
    )
    assert first_grasp_s(intents, 0, 1000.0) == pytest.approx(0.4)
    none = replace(intents, positions=np.zeros((5, 6), np.float32))
    assert first_grasp_s(none, 0, 1000.0) is None


@pytest.mark.usefixtures("needs_pictures")
def test_a_film_and_a_strip_are_written(run: Run, session_file: Path, tmp_path: Path) -> None:
    from PIL import Image

    wanted = ("--session", session_file, "--bundle", BUNDLE, "--seconds", 0.5, "--size", "96x72")
    done = run("hand", "film", tmp_path / "a.gif", *wanted, "--start", 8.5)
    assert done.status == 0, done.err
    assert "6 pictures of 8.5 to 9.0 s" in done.out
    with Image.open(tmp_path / "a.gif") as animation:
        assert animation.n_frames == 6  # type: ignore[attr-defined]
        assert animation.size[0] == 96
        first = np.asarray(animation.convert("RGB"), np.float64)
    assert first[:72].std() > 10  # there is something on it

    done = run("hand", "film", tmp_path / "a.png", *wanted, "--frames", 4, "--side", "left", "--json")
    assert done.status == 0, done.err
    assert '"pictures": 4' in done.out
    with Image.open(tmp_path / "a.png") as strip:
        assert strip.size[0] == 3 * 100 - 4


def test_what_cannot_be_filmed_is_refused_before_any_work(
    run: Run, session_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = ("--session", session_file, "--bundle", BUNDLE)
    for words, said in (
        ((tmp_path / "a.mp4",), "a name that ends in .gif (a film) or .png"),
        (
            (tmp_path / "a.gif", "--object", "cat"),
            "there is no 'cat' to grasp: use cylinder, ball, box, none",
        ),
        ((tmp_path / "a.gif", "--side", "middle"), "there is no 'middle' hand"),
        ((tmp_path / "a.gif", "--size", "wide"), "give width x height in pixels"),
        ((session_file,), "exists already"),
    ):
        done = run("hand", "film", *words, *wanted)
        assert done.status == 2
        assert said in done.err
    monkeypatch.setattr(film, "find_spec", lambda name: None)
    done = run("hand", "film", tmp_path / "a.gif", *wanted)
    assert done.status == 2
    assert "a film needs MuJoCo and Pillow, not installed here: pip install 'nervehand[physics]'" in done.err


@needs_physics
def test_a_start_beyond_the_end_is_refused(run: Run, session_file: Path, tmp_path: Path) -> None:
    done = run(
        "hand", "film", tmp_path / "a.gif", "--session", session_file, "--bundle", BUNDLE, "--start", 60
    )
    assert done.status == 2
    assert "--start is 60 s, and the session lasts 11.0 s" in done.err


def test_a_size_is_two_numbers() -> None:
    assert picture_size("400x300") == (400, 300)
    with pytest.raises(NervehandError, match="give width x height"):
        picture_size("400")
