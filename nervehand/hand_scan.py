"""`nervehand hand scan`: what is near or plugged in that could be a hand, and how it would be addressed."""

from __future__ import annotations

from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from firmware_bridge import hands
from firmware_bridge.errors import NervehandError
from firmware_bridge.hands._scan import FoundHand, scan
from firmware_bridge.sources import serial
from nervehand.output import print_json, saying

SERIAL = ("ability_hand", "rohand", "inspire")
"""Hands on a serial port: which one it is, the port does not tell."""


@dataclass(frozen=True, slots=True)
class Scanned:
    """What was found; `problem` is why Bluetooth could not be listened with, "" where it could."""

    near: tuple[FoundHand, ...]
    ports: tuple[tuple[str, str], ...]
    problem: str = ""


def scanned(transport: str | None, seconds: float, *, everything: bool) -> Scanned:
    """Listen, and list the serial ports; a machine without Bluetooth still has those."""
    near: tuple[FoundHand, ...] = ()
    problem = ""
    try:
        near = scan(transport, seconds, everything)
    except NervehandError as error:
        problem = str(error)
    ports = tuple((found.address.removeprefix("serial:"), found.description) for found in serial.find())
    return Scanned(near, ports, problem)


def run_scan(transport: str | None, seconds: float, *, everything: bool, as_json: bool) -> None:
    """Look and print. NervehandError where nothing at all could be looked at."""
    with saying(f"listening for {seconds:g} s", as_json):
        found = scanned(transport, seconds, everything=everything)
    if as_json:
        print_json(scan_json(found))
        return
    console = Console()
    if found.problem:
        console.print(f"Bluetooth: {found.problem}", markup=False, highlight=False)
    else:
        table = _table("near", "address", "name", "dBm")
        for hand in found.near:
            rssi = "" if hand.rssi is None else str(hand.rssi)
            address = f"{hand.kind}:{hand.address}" if hand.kind else f"{hand.address} (no hand known here)"
            table.add_row(escape(address), escape(hand.name), rssi)
        console.print(table if found.near else "near: no hand advertises")
    table = _table("serial ports that could be a hand's", "port", "what it is")
    for port, description in found.ports:
        table.add_row(escape(port), escape(description))
    console.print(table if found.ports else "serial ports: none over USB")
    console.print(f"on a serial port: {', '.join(hands.load(name).ADDRESS for name in SERIAL)}", markup=False)


def scan_json(found: Scanned) -> dict[str, object]:
    """What is near, the ports, and what went wrong."""
    return {
        "near": [
            {
                "address": f"{hand.kind}:{hand.address}" if hand.kind else hand.address,
                "kind": hand.kind,
                "name": hand.name,
                "rssi_dbm": hand.rssi,
            }
            for hand in found.near
        ],
        "serial_ports": [{"port": port, "description": description} for port, description in found.ports],
        "bluetooth_problem": found.problem,
    }


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
