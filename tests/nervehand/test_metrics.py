"""What Prometheus is told: its parser reads it back, its rules hold, and no label can name a person."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from firmware_bridge.gate_rules import GateState
from nervehand.latency import BOUNDS_S
from nervehand.metrics import StatusCollector, metrics_of, text_of
from nervehand.status import MachineStatus, Status, path_of, write_status
from tests.firmware_bridge.guarding import own_guards
from tests.nervehand.statuses import PERSON, SHA, ended_status, found, full_status

UNITS = ("_seconds", "_bytes", "_celsius", "_watts", "_hertz", "_ratio", "_info", "_total")
UNITLESS = {
    f"nervehand_{name}"
    for name in (
        "up", "config_generation", "config_reload_refused", "port_problem", "port_clients", "shadow_decoders",
        "realtime_warnings", "source_state", "source_channels", "source_masked_channels", "gate_state",
        "hand_link_state", "guard_lost", "hand_fault", "hand_open_stop_lines", "recording_state", "recording_files",
        "recording_unclosed_files", "machine_throttled",
    )
}  # fmt: skip
"""Counts and states, which have none."""


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_guards(tmp_path, monkeypatch)


def scraped(path: Path) -> dict[str, Metric]:
    """By Prometheus' own parser, which refuses what Prometheus refuses."""
    text = text_of(path).decode()
    assert text.endswith("\n")
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert len(families) == text.count("# TYPE ")
    return families


def written(status: Status) -> Path:
    path = path_of(status.name)
    assert write_status(path, status) == ""
    return path


def value(families: dict[str, Metric], name: str, **labels: str) -> float:
    (sample,) = [
        sample
        for family in families.values()
        for sample in family.samples
        if sample.name == name and sample.labels == labels
    ]
    return float(sample.value)


def test_every_part_of_the_document_is_there_in_base_units() -> None:
    families = scraped(written(full_status()))
    assert value(families, "nervehand_up") == 1
    assert value(families, "nervehand_status_age_seconds") < 3
    assert value(families, "nervehand_info", version="0.1.0", bundle_sha256=SHA) == 1
    assert value(families, "nervehand_source_samples_total") == 36_000_000
    assert value(families, "nervehand_decode_late_hops_total") == 3
    assert value(families, "nervehand_gate_state", state="armed") == 1
    assert value(families, "nervehand_hand_link_state", state="lost") == 0
    assert value(families, "nervehand_recording_free_bytes") == 50_000 * 2**20
    assert value(families, "nervehand_machine_cpu_clock_hertz", cpu="1") == 921e6
    assert value(families, "nervehand_machine_temperature_celsius", zone="cpu_therm") == 51.5
    assert value(families, "nervehand_machine_power_watts", rail="pom_5v_in") == 4.2
    assert value(families, "nervehand_process_pss_bytes", process="decode") == 120 * 2**20
    assert value(families, "nervehand_source_masked_channels") == 1


def test_names_have_a_unit_or_are_counts_and_counters_end_in_total() -> None:
    for name, family in scraped(written(full_status())).items():
        assert re.fullmatch(r"nervehand(_[a-z0-9]+)*", name)
        assert family.documentation
        for sample in family.samples:
            base = re.sub(r"_(bucket|sum|count)$", "", sample.name)
            assert base.endswith(UNITS) or base in UNITLESS, base
            assert (family.type == "counter") == sample.name.endswith("_total")


def test_a_stages_histogram_is_cumulative_and_says_the_same_as_its_percentiles() -> None:
    families = scraped(written(full_status()))
    samples = families["nervehand_stage_latency_seconds"].samples
    buckets = [
        (sample.labels["le"], sample.value)
        for sample in samples
        if sample.name.endswith("_bucket") and sample.labels["stage"] == "sample_to_sent"
    ]
    assert [bound for bound, _ in buckets] == [*(str(bound_s) for bound_s in BOUNDS_S), "+Inf"]
    assert [count for _, count in buckets] == sorted(count for _, count in buckets)
    assert (
        buckets[-1][1]
        == value(families, "nervehand_stage_latency_seconds_count", stage="sample_to_sent")
        == 400
    )
    total_s = value(families, "nervehand_stage_latency_seconds_sum", stage="sample_to_sent")
    assert total_s == pytest.approx(sum(range(500, 4500, 10)) / 1e6)
    lately = "nervehand_stage_latency_last_minute_seconds"
    assert value(families, lately, stage="sample_to_sent", quantile="0.5") == pytest.approx(2.5e-3, rel=0.02)
    assert value(families, lately, stage="sample_to_sent", quantile="1") == pytest.approx(4.49e-3)


def test_nothing_that_a_person_may_choose_is_in_the_text() -> None:
    status = full_status()
    assert PERSON in json.dumps(json.loads(written(status).read_text()))
    assert PERSON.split()[0].lower() not in text_of(path_of(status.name)).decode().lower()


def test_labels_are_few_and_of_known_kinds() -> None:
    kinds: dict[str, set[str]] = {}
    for family in scraped(written(full_status())).values():
        for sample in family.samples:
            for name, text in sample.labels.items():
                kinds.setdefault(name, set()).add(text)
    assert set(kinds) == {
        "version", "bundle_sha256", "stage", "le", "quantile", "state", "zone", "rail", "cpu", "process"
    }  # fmt: skip
    assert all(
        re.fullmatch(r"[a-z0-9_]{1,40}", text) for name in ("stage", "state", "zone") for text in kinds[name]
    )


def test_exactly_one_state_is_1_whichever_it_is() -> None:
    status = full_status()
    assert status.hand is not None
    for state in GateState:
        families = scraped(written(replace(status, hand=replace(status.hand, gate=state.value))))
        states = {s.labels["state"]: s.value for s in families["nervehand_gate_state"].samples}
        assert [name for name, is_now in states.items() if is_now] == [state.value]


def test_a_daemon_that_is_gone_or_silent_is_down_and_nothing_old_is_told() -> None:
    gone = path_of("gone")
    assert set(scraped(gone)) == {"nervehand_up"}
    killed = scraped(written(ended_status("killed")))
    assert set(killed) == {"nervehand_up", "nervehand_status_age_seconds"}
    silent = scraped(written(replace(full_status(), written_monotonic_s=time.monotonic() - 60)))
    assert set(silent) == {"nervehand_up", "nervehand_status_age_seconds"}
    assert (
        value(silent, "nervehand_up")
        == value(killed, "nervehand_up")
        == value(scraped(gone), "nervehand_up")
        == 0
    )
    assert value(silent, "nervehand_status_age_seconds") == pytest.approx(60, abs=2)


def test_half_a_document_is_down_and_no_exception() -> None:
    path = path_of("nervehand")
    path.write_bytes(b'{"format": 1, "name"')
    assert value(scraped(path), "nervehand_up") == 0


def test_each_scrape_reads_anew() -> None:
    path = written(full_status())
    collector = StatusCollector(path)
    before = len(list(collector.collect()))
    path.unlink()
    assert len(list(collector.collect())) < before


def test_what_is_not_measured_is_left_out() -> None:
    families = scraped(written(replace(full_status(), machine=MachineStatus(), source=None, latency={})))
    assert not [name for name in families if "machine" in name or "source" in name or "latency" in name]


@given(st.dictionaries(st.text(max_size=60), st.floats(0, 150), max_size=80))
def test_whatever_the_kernel_calls_its_zones_the_text_stays_valid(zones: dict[str, float]) -> None:
    metrics = metrics_of(found(replace(full_status(), machine=MachineStatus(temperature_c=zones))))
    (family,) = [one for one in metrics if one.name == "nervehand_machine_temperature_celsius"] or [None]
    if family is not None:
        labels = [sample.labels["zone"] for sample in family.samples]
        assert len(set(labels)) == len(labels) <= 64
