"""The next recording's file, made ahead: making one takes seconds, in which the ring alone would hold what comes."""

from __future__ import annotations

import contextlib
import glob
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import IO

from decoder.session.layout import Header
from decoder.session.recorder import LANES
from decoder.session.skeleton import fill_in
from firmware_bridge.errors import NervehandError

CREATE_S = 120.0
"""How long a file may take to be made, on a machine that does other things too."""
WAITING_S = 0.5
AGAIN_S = 60.0
"""After a spare that could not be made, the next is tried so much later."""

logger = logging.getLogger(__name__)


def asked_for(path: Path, header: Header, names: tuple[str, ...], state: bytes) -> bytes:
    """What `python -m decoder.session.skeleton` is told."""
    asked = json.dumps({"path": str(path), "header": header.to_json(), "names": names}).encode()
    return len(asked).to_bytes(4, "little") + asked + state


MAKER = [sys.executable, "-m", "decoder.session.skeleton"]


def make_elsewhere(
    path: Path,
    header: Header,
    names: tuple[str, ...],
    *,
    state: bytes,
    waiting: Callable[[], None] = lambda: None,
) -> None:
    """As skeleton.create, in a process that ends with it: what makes NWB files takes more memory than a recorder.

    `waiting` is called now and then until it is made.
    """
    asked = asked_for(path, header, names, state)
    end_s = time.monotonic() + CREATE_S
    try:
        with subprocess.Popen(MAKER, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as made:
            # A pipe holds less than a state, and who reads it takes seconds to start; `communicate` cannot go on with
            # what it has not written by a timeout.
            pipe, made.stdin = made.stdin, None
            assert pipe is not None
            threading.Thread(target=_told, args=(pipe, asked), daemon=True).start()
            while True:
                try:
                    _, said = made.communicate(timeout=WAITING_S)
                    break
                except subprocess.TimeoutExpired:
                    waiting()
                    if time.monotonic() > end_s:
                        made.kill()
                        raise
    except (OSError, subprocess.TimeoutExpired) as error:
        path.unlink(missing_ok=True)
        raise NervehandError(f"{path}: cannot be made ({error}): see to the machine's memory") from None
    if made.returncode:
        path.unlink(missing_ok=True)
        last = said.decode(errors="replace").strip().splitlines()[-1:] or ["no word"]
        raise NervehandError(
            last[0] if last[0].startswith(str(path)) else f"{path}: cannot be made ({last[0]})"
        )


def _told(pipe: IO[bytes], asked: bytes) -> None:
    with contextlib.suppress(OSError), pipe:  # one that ends before it has read all says why
        pipe.write(asked)


class Spare:
    """Makes files as skeleton.create does: from one that was made ahead, where it is of the same form."""

    def __init__(self, folder: Path, name: str, waiting: Callable[[], None] = lambda: None) -> None:
        """It lies hidden in the folder of the recordings; what a recorder that was killed left there goes.

        `waiting` is called now and then while `make` takes long.
        """
        self._waiting = waiting
        self._path = folder / f".{name}.{os.getpid()}.spare"
        self._made: Header | None = None  # the form of the one that is there
        self._last: tuple[Header, bytes] | None = None  # what the newest file was made with
        self._asked: tuple[Header, bytes] | None = None  # what is being made
        self._process: subprocess.Popen[bytes] | None = None
        self._began_s = self._failed_s = float("-inf")
        with contextlib.suppress(OSError):
            for left in folder.glob(f".{glob.escape(name)}.*.spare"):
                left.unlink()

    def make(self, path: Path, header: Header, names: tuple[str, ...], *, state: bytes) -> None:
        """A file at 0 rows at `path`. NervehandError where it cannot be."""
        assert names == LANES[1:]
        self._last = (header, state)
        made, self._made = self._made, None
        if made is not None and made == form_of(header, state):
            try:
                fill_in(self._path, header, state)
                if path.exists():
                    raise NervehandError(f"{path}: is there already: choose another name")
                self._path.rename(path)
                return
            except (OSError, KeyError, RuntimeError, ValueError) as error:
                logger.warning("the file that was made ahead cannot be used: %s", error)
        self._path.unlink(missing_ok=True)
        make_elsewhere(path, header, names, state=state, waiting=self._waiting)

    @property
    def is_awaited(self) -> bool:
        """Whether a file would have to be made from the beginning that will soon be there."""
        return self._last is not None and self._made is None and time.monotonic() > self._failed_s + AGAIN_S

    def look(self) -> None:
        """Begin to make one where none is there, or see whether it is made."""
        if self._process is not None:
            if (status := self._process.poll()) is not None:
                self._process = None
                if status or self._asked is None:
                    self._fail(f"exit status {status}")
                else:
                    self._made = form_of(*self._asked)
            elif time.monotonic() > self._began_s + CREATE_S:
                self._process.kill()
                self._process.wait()
                self._process = None
                self._fail(f"it takes more than {CREATE_S:g} s")
        elif self.is_awaited:
            self._begin()

    def close(self) -> None:
        """No file follows."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._path.unlink(missing_ok=True)

    def _begin(self) -> None:
        assert self._last is not None
        header, state = self._last
        self._asked = self._last
        self._began_s = time.monotonic()
        try:
            self._path.unlink(missing_ok=True)
            self._process = subprocess.Popen(MAKER, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
            assert self._process.stdin is not None
            with self._process.stdin as pipe:
                pipe.write(asked_for(self._path, header, LANES[1:], state))
        except OSError as error:
            self._fail(str(error))

    def _fail(self, why: str) -> None:
        self._failed_s = time.monotonic()
        logger.warning("the next file cannot be made ahead: %s", why)


def form_of(header: Header, state: bytes) -> Header:
    """All of a header that `fill_in` cannot change; whether there is a state is one of these."""
    meta = replace(header.meta, identifier="any", start_time="")
    return replace(header, first_sample=0, meta=meta, decision={"state": float(bool(state))}, bundle="")
