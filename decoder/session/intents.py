"""Intents files: what `replay --out` writes. An NWB file with intents, and the header of their session."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from decoder.intent import Intents
from decoder.session.contents import read_intents
from decoder.session.layout import Header, header_of
from decoder.session.model import Session
from decoder.session.reader import open_file, read_header
from decoder.session.skeleton import create
from decoder.session.writer import append_rows, intent_rows, make_regular, whole_file
from firmware_bridge.errors import NervehandError


@dataclass(frozen=True, slots=True)
class IntentsFile:
    """Intents read back: `session` and `bundle` are the identities that they rest on."""

    intents: Intents
    output_names: tuple[str, ...]
    gesture_names: tuple[str, ...]
    session: str
    bundle: str
    rate_hz: float


def write_intents(
    path: str | Path,
    session: Session,
    bundle: str,
    output_names: tuple[str, ...],
    gesture_names: tuple[str, ...],
    blocks: Iterable[Intents],
) -> int:
    """Write intents as they are made, a second or more at a time, and return how many hops there were.

    `bundle` is the identity of the bundle. The file appears at `path` when it is whole, replacing an older
    one; on any error nothing is left behind. Errors: NervehandError where it cannot be written.
    """
    import h5py

    path = Path(path)
    header = replace(
        header_of(session),
        content="intents",
        bundle=bundle,
        output_names=output_names,
        gesture_names=gesture_names,
        postures=None,
        truth_names=(),
        truth_units=(),
    )
    hops = 0
    pending: list[Intents] = []
    with whole_file(path, 0) as part:
        create(part, header, ("intents",), signal=False)
        with h5py.File(part, "r+", libver="latest") as file:
            for block in blocks:
                if not len(block):
                    continue
                pending.append(block)
                hops += len(block)
                if block.sample_index[-1] - pending[0].sample_index[0] >= session.info.rate_hz:
                    _append(file, header, pending)
                    pending = []
            if pending:
                _append(file, header, pending)
            make_regular(file, header, "intents")
    return hops


def read_intents_file(path: str | Path) -> IntentsFile:
    """The intents in a file that write_intents made. Errors: NervehandError for any other file."""
    path = Path(path)
    with open_file(path) as file:
        try:
            header = read_header(file)
            intents = read_intents(file, header)
        except NervehandError as error:
            raise NervehandError(f"{path}: {error}") from None
        except (KeyError, OSError, ValueError, TypeError) as error:
            raise NervehandError(
                f"{path}: is damaged ({error}): make it again with `nervehand replay`"
            ) from None
    if header.content != "intents" or intents is None:
        raise NervehandError(f"{path}: holds no intents: give a file made by `nervehand replay --out`")
    return IntentsFile(
        intents,
        header.output_names,
        header.gesture_names,
        header.meta.identifier,
        header.bundle,
        header.info.rate_hz,
    )


def _append(file: object, header: Header, blocks: list[Intents]) -> None:
    rows = [intent_rows(block) for block in blocks]
    index = np.concatenate([row[0] for row in rows])
    columns = [np.concatenate(parts) for parts in zip(*(row[1] for row in rows), strict=True)]
    append_rows(file, header, "intents", index, columns)
