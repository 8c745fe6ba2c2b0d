"""What the reports of a run's recorders come to, for the status document (docs/status.md)."""

from __future__ import annotations

from collections.abc import Mapping

from nervehand.config import RecordingConfig
from nervehand.status_document import RecordingStatus


class RecordingWatch:
    """Takes the newest report each time. A recorder that is started in another's place knows nothing of that one."""

    def __init__(self, config: RecordingConfig) -> None:
        self._config = config
        self._end = 0
        """The index after the newest sample that came to any of them."""

    def status(
        self,
        report: Mapping[str, object],
        present_sample: int,
        rate_hz: float | None,
        *,
        given_up: str = "",
        problem: str = "",
    ) -> RecordingStatus:
        """`report` is a keeper.Report as plain JSON, empty before the first; `present_sample` was handed over last.

        `given_up` says why nothing is handed over any more, `problem` what was wrong with the recorder's process.
        """

        def number(name: str) -> float:
            value = report.get(name)
            return float(value) if isinstance(value, int | float) else 0.0

        def text(name: str) -> str:
            return str(report.get(name, ""))

        left, pace = report.get("to_settle"), report.get("mib_per_s")
        self._end = max(self._end, int(number("end")))
        return RecordingStatus(
            state="stopped" if given_up or text("state") == "stopped" else "recording",
            why="; ".join(part for part in (given_up, text("why"), problem) if part),
            folder=self._config.folder,
            file=text("file"),
            file_s=number("file_s"),
            samples=int(number("samples")),
            ring_backlog_s=self._backlog_s(present_sample, rate_hz),
            ring_lost=int(number("lost")),
            free_mib=number("free_mib"),
            reserve_mib=float(self._config.reserve_mib),
            budget_mib=float(self._config.budget_mib),
            kept_mib=number("kept_mib"),
            pinned_mib=number("pinned_mib"),
            written_mib_per_s=pace if isinstance(pace, float) else None,
            files=int(number("files")),
            to_recover=tuple(map(str, left)) if isinstance(left, list) else (),
        )

    def _backlog_s(self, present_sample: int, rate_hz: float | None) -> float | None:
        """None as long as none was heard to have come: the first sample may have any index."""
        if not self._end or rate_hz is None:
            return None
        return round(max(present_sample + 1 - self._end, 0) / rate_hz, 2)
