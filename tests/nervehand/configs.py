"""Values of every key of a daemon's configuration, and whole configurations made of them, for property tests."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from hypothesis import strategies as st

from firmware_bridge.hand import DOF_NAMES
from nervehand.config import DaemonConfig

Keys = tuple[str, ...]
NAMES = st.from_regex(r"[A-Za-z0-9_-]{1,40}", fullmatch=True)
# No line ends of any kind: an editor's lines are to be those of `str.splitlines`.
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=12)
PEOPLE = TEXTS.filter(lambda text: not text or any(one.isprintable() and not one.isspace() for one in text))
PATHS = TEXTS.map(lambda text: f"/{text}")
SIGNERS = st.binary(min_size=32, max_size=32).map(lambda key: base64.b64encode(key).decode())
CPUS = st.lists(st.integers(0, 63), unique=True, max_size=4)


def numbers(least: float, most: float) -> st.SearchStrategy[float]:
    return st.floats(least, most, allow_nan=False)


def by_dof(least: float, most: float) -> st.SearchStrategy[object]:
    """One number, or some by name."""
    return numbers(least, most) | st.dictionaries(
        st.sampled_from(DOF_NAMES), numbers(least, most), min_size=1
    )


VALUES: Mapping[Keys, st.SearchStrategy[object]] = {
    ("name",): NAMES,
    ("source", "address"): st.sampled_from(["simulated", "simulated:hard/2", "serial:/dev/ttyACM0"]),
    ("source", "mains_hz"): st.sampled_from([50.0, 60.0]),
    ("decoder", "bundle"): PATHS,
    ("decoder", "any_wearer"): PEOPLE,
    ("decoder", "allowed_signers"): st.lists(SIGNERS, max_size=2),
    ("decoder", "engine"): st.sampled_from(["auto", "compiled", "onnxruntime", "tensorrt"]),
    ("decision", "min_cutoff_hz"): numbers(0.01, 1e3),
    ("decision", "speed_gain"): numbers(0, 1e3),
    ("decision", "speed_cutoff_hz"): numbers(0.01, 1e3),
    ("decision", "probability_tau_s"): numbers(0, 10),
    ("decision", "hysteresis"): numbers(0, 1),
    ("decision", "min_hold_s"): numbers(0, 10),
    ("decision", "reject_below"): numbers(0, 1),
    ("hand", "side"): st.sampled_from(["left", "right", ""]),
    ("hand", "actions", "silence"): st.sampled_from(["relax", "open", "hold"]),
    ("hand", "limits", "upper"): by_dof(0.5, 1),
    ("hand", "limits", "max_speed_per_s"): by_dof(0.5, 4),
    ("hand", "limits", "max_acceleration_per_s2"): by_dof(1, 1e3),
    ("hand", "limits", "max_current_a"): by_dof(0.1, 5),
    ("hand", "limits", "silence_after_s"): numbers(0.01, 60),
    ("hand", "limits", "min_battery"): numbers(0, 1),
    ("hand", "limits", "max_temperature_c"): numbers(20, 90),
    ("hand", "limits", "check_valid_s"): numbers(1, 1e6),
    ("hand", "adjustments", "gain"): by_dof(0, 4),
    ("hand", "adjustments", "dead_band"): by_dof(0, 0.9),
    ("hand", "adjustments", "max_speed_per_s"): by_dof(0.1, float("inf")),
    ("hand", "adjustments", "locked"): st.lists(st.sampled_from(DOF_NAMES), unique=True),
    ("hand", "adjustments", "hand_locked"): st.booleans(),
    ("arming", "as"): PEOPLE,
    ("arming", "check"): st.booleans(),
    ("guard", "name"): NAMES,
    ("guard", "stop_lines"): st.lists(
        st.sampled_from(["serial:/dev/ttyS0#cts", "gpio:/sys/value"]), unique=True
    ),
    ("guard", "release_lines"): st.lists(st.just("gpio:/sys/other#high"), max_size=1),
    ("overload", "restart_after_s"): numbers(0.1, 600),
    ("realtime", "policy"): st.sampled_from(["auto", "off", "required"]),
    ("realtime", "priority"): st.integers(1, 99),
    ("realtime", "decode_cpus"): CPUS,
    ("realtime", "guard_cpus"): CPUS,
    ("realtime", "lock_memory"): st.booleans(),
    ("recording", "folder"): PATHS,
    ("recording", "rotate_mib"): st.integers(1, 4096),
    ("recording", "rotate_s"): numbers(1, 604_800),
    ("recording", "budget_mib"): st.integers(4097, 2**26),
    ("recording", "reserve_mib"): st.integers(1, 4096),
    ("recording", "keep"): st.sampled_from(["all", "pinned"]),
    ("recording", "ring_s"): numbers(1, 86_400),
    ("port", "listen"): st.sampled_from(["", "127.0.0.1:4711", ":0", "0.0.0.0:4711", "[::]:1"]),
    ("metrics", "listen"): st.sampled_from(
        ["", "127.0.0.1:9464", "localhost:1234", "[::1]:99", "127.9.9.9:0"]
    ),
    ("watchdog", "stall_s"): numbers(0.1, 600),
    ("watchdog", "start_s"): numbers(1, 3600),
    ("log", "format"): st.sampled_from(["text", "json"]),
    ("log", "level"): st.sampled_from(["debug", "info", "warning", "error"]),
}
"""What may stand under a key, each for itself and all together, with the virtual hand."""


@st.composite
def tables(draw: st.DrawFn) -> dict[str, object]:
    """Some of these keys, as the table that a TOML file would hold."""
    table: dict[str, object] = {}
    for keys in draw(st.lists(st.sampled_from(list(VALUES)), unique=True, max_size=20)):
        put(table, keys, draw(VALUES[keys]))
    return table


def put(table: dict[str, object], keys: Keys, value: object) -> None:
    """Set what is under `keys`."""
    *way, key = keys
    for one in way:
        inner = table.setdefault(one, {})
        assert isinstance(inner, dict)
        table = inner
    table[key] = value


def configs() -> st.SearchStrategy[DaemonConfig]:
    """Whole configurations that are right."""
    return tables().map(DaemonConfig.model_validate)
