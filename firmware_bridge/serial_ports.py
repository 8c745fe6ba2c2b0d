"""How a serial port is opened, for front-ends and hands alike, and what to do where it does not open."""

from __future__ import annotations

import contextlib
import errno
import os

import serial
from serial.rs485 import RS485Settings

from firmware_bridge.errors import LinkError, NervehandError

_HINTS = {
    errno.EACCES: "give yourself the right to it: sudo usermod -aG dialout $USER, then log in again",
    errno.EAGAIN: "another program has it open: end that one",
    errno.EBUSY: "another program has it open: end that one",
    errno.EISDIR: "it is a folder: give the port itself, and see `ls /dev/serial/by-id`",
    errno.ENOTTY: "it is no serial port: give another one, and see `ls /dev/serial/by-id`",
}


def open_serial_port(
    path: str, baud: int, *, hint_if_absent: str, write_timeout_s: float | None = None, is_rs485: bool = False
) -> serial.Serial:
    """The port, for this program alone, 8N1; reads return what is there. `is_rs485`: its driver switches the direction.

    Raises LinkError where it does not open, NervehandError where it cannot be driven so.
    """
    try:
        port = serial.Serial(path, baud, timeout=0, write_timeout=write_timeout_s, exclusive=True)
    except serial.SerialException as error:
        number = _number(error)
        hint = _HINTS.get(number, "check it") if number != errno.ENOENT else hint_if_absent
        reason = os.strerror(number) if number else str(error)
        raise LinkError(f"serial port {path} does not open: {reason}: {hint}") from error
    except ValueError as error:
        raise NervehandError(f"serial port {path} does not take {baud} baud: {error}") from error
    # A USB UART otherwise holds bytes back for up to 16 ms; only some drivers have the setting.
    with contextlib.suppress(ValueError, NotImplementedError):
        port.set_low_latency_mode(True)
    if is_rs485:
        try:
            port.rs485_mode = RS485Settings()
        except (ValueError, OSError) as error:
            port.close()
            raise NervehandError(
                f"serial port {path} cannot switch its direction for RS485: {error}: use an adapter that does so itself"
            ) from error
    return port


def _number(error: serial.SerialException) -> int:
    """The system's, 0 where it is not known. What came of the terminal's settings has it only in the error before."""
    before = error.__context__
    said = error.errno or (before.args[0] if before is not None and before.args else 0)
    return said if isinstance(said, int) else 0
