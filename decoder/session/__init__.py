"""Sessions: one recording with its ground truth, labels and trials, and the NWB files that hold them."""

from decoder.session.intents import IntentsFile, read_intents_file, write_intents
from decoder.session.layout import Header
from decoder.session.model import Gap, Session, SessionMeta, Trial, iter_blocks, trials
from decoder.session.reader import read_session
from decoder.session.recorder import RecordingStoppedError, SessionWriter
from decoder.session.recover import Recovery, recover
from decoder.session.writer import write_session

__all__ = [
    "Gap",
    "Header",
    "IntentsFile",
    "RecordingStoppedError",
    "Recovery",
    "Session",
    "SessionMeta",
    "SessionWriter",
    "Trial",
    "iter_blocks",
    "read_intents_file",
    "read_session",
    "recover",
    "trials",
    "write_intents",
    "write_session",
]
