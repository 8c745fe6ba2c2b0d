"""`nervehand export SESSION --to FORMAT`: a recording for other programs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from decoder.exporters import edf, mne, nwb, xdf
from decoder.exporters.cut import Cut, Exported, open_cut
from firmware_bridge.errors import NervehandError
from nervehand.options import free_to_write
from nervehand.output import print_json, saying

FORMATS: dict[str, Callable[[Cut, Path], Exported]] = {
    "nwb": nwb.export,
    "edf": edf.export,
    "xdf": xdf.export,
    "mne": mne.export,
}


def run_export_session(
    path: Path, to: str, out: Path, start_s: float, seconds: float | None, *, force: bool, as_json: bool
) -> None:
    """Write a session, or `seconds` of it from `start_s` on, in another format; print what became of it.

    Errors: NervehandError for an unknown format, a session that is not closed, or a place that cannot be written.
    """
    if to not in FORMATS:
        raise NervehandError(f"format is {to!r}: use one of {', '.join(FORMATS)}")
    free_to_write(out, force)
    if out.exists() and out.samefile(path):
        raise NervehandError(f"{out}: is the session itself: choose another name")
    with open_cut(path, start_s, seconds) as cut, saying(f"Writing {out}", as_json):
        done = FORMATS[to](cut, out)
        said = {
            "session": str(path),
            "files": [str(file) for file in done.files],
            "format": done.form,
            "first_sample": cut.first,
            "samples": cut.n_samples,
            "rate_hz": cut.info.rate_hz,
            "channels": cut.info.n_channels,
            "lost_samples": sum(gap.stop - gap.start for gap in cut.gaps),
            "largest_error_uv": done.largest_error_uv,
            "notes": list(done.notes),
        }
    if as_json:
        print_json(said)
        return
    error = done.largest_error_uv
    exact = "samples exact" if error == 0 else f"samples within {error:.2g} microvolts"
    print(
        f"{', '.join(map(str, done.files))}: {cut.n_samples / cut.info.rate_hz:.1f} s of {cut.info.n_channels}"
        f" channels at {cut.info.rate_hz:g} Hz; {done.form}; {exact}"
    )
    for note in done.notes:
        print(f"note: {note}")
