"""The last configuration that was right: what an engine is started again with while its file is wrong.

A supervisor names the place in NERVEHAND_KEPT_CONFIG and empties it before the first start and after the last one, so
that what lies there is of an engine of its own. Without a supervisor nothing is kept.
"""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path

from firmware_bridge.errors import NervehandError
from nervehand.config_file import ConfigFile, config_in, read_config

VARIABLE = "NERVEHAND_KEPT_CONFIG"

logger = logging.getLogger(__name__)


def config_to_start(path: Path | None) -> ConfigFile:
    """The configuration in the file; where that is wrong the kept one, whose `problem` says why.

    NervehandError where none is kept. Files that it names are looked at where it is another than the kept one.
    """
    try:
        file = read_config(path)
        if _kept() not in (None, file.text):
            file.check_files()
    except NervehandError as error:
        before = kept_before(path, error)
        if before is None:
            raise
        return before
    return file


def kept_before(path: Path | None, error: NervehandError, text: str = "") -> ConfigFile | None:
    """The kept configuration, whose `problem` says what is wrong with the one in the file; None where none is kept, or
    no other than `text`."""
    kept = _kept()
    if path is None or kept is None or kept == text:
        return None
    config = config_in(kept, f"{path} (as it was before)", path.absolute().parent)
    problem = f"{error} (until then it goes on with the configuration of before)"
    return ConfigFile(config, path, kept, problem)


def keep(file: ConfigFile) -> None:
    """For the next start. Where that is not possible it is logged, and the next start needs a file that is right."""
    where = os.environ.get(VARIABLE)
    if not where or file.path is None:
        return
    part = f"{where}.part"
    try:
        # Only its user reads it: a configuration says who answers for a hand, and where its keys lie.
        with open(part, "wb", opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW, 0o600)) as out:
            out.write(file.text.encode())
        os.replace(part, where)
    except OSError as error:
        for one in (where, part):  # an older one is of another time, and its limits may be others
            with contextlib.suppress(OSError):
                os.unlink(one)
        logger.warning("the configuration is not kept for another start: %s (%s)", where, error.strerror)


def _kept() -> str | None:
    where = os.environ.get(VARIABLE)
    try:
        return Path(where).read_bytes().decode() if where else None
    except (OSError, ValueError):  # none yet
        return None
