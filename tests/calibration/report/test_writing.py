"""The files of a report: HTML, one A4 page as PDF, and JSON that the next report reads."""

from __future__ import annotations

import builtins
import importlib
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from calibration.report.comparison import compare, findings_of
from calibration.report.content import Content
from calibration.report.page import html_page
from calibration.report.writing import PdfMissingError, laid_out, pdf_of, read_report, write_report
from firmware_bridge.errors import NervehandError
from tests.calibration.report import made

A4_MM = (210, 297)


def sheets_mm(page: str) -> list[tuple[int, int]]:
    pytest.importorskip("weasyprint")
    return [(round(s.width * 25.4 / 96), round(s.height * 25.4 / 96)) for s in laid_out(page).pages]


def printed(content: Content) -> list[tuple[int, int]]:
    return sheets_mm(html_page(content, "report.json"))


def test_all_files_are_written_and_the_json_is_what_the_next_report_reads(tmp_path: Path) -> None:
    content = made.content(made.findings())
    files = write_report(content, tmp_path / "new" / "folder")
    assert files.html.read_text().startswith("<!DOCTYPE html>")
    report = read_report(files.json)
    assert findings_of(report) == content.findings
    assert report["verdict"] == "ready"
    assert report["recommendations"] == [
        {"rule": "check_before_use", "weight": "note", "text": content.recommendations[0].text}
    ]
    assert sorted(path.name for path in files.html.parent.iterdir()) == sorted(
        path.name for path in (files.html, files.pdf, files.json) if path is not None
    )


def test_a_page_too_many_would_be_seen() -> None:
    style = "<style>@page { size: A4 } p { break-after: page }</style>"
    assert sheets_mm(f"<!DOCTYPE html>{style}<p>one</p><p>two</p>three") == [A4_MM] * 3


def test_a_good_report_prints_on_one_a4_page() -> None:
    assert printed(made.content(made.findings())) == [A4_MM]


@pytest.mark.slow
def test_a_report_on_nearly_nothing_prints_on_one_a4_page() -> None:
    assert printed(made.content(made.unscored())) == [A4_MM]


@pytest.mark.slow
def test_the_worst_report_prints_on_one_a4_page() -> None:
    found = made.extreme()
    assert printed(made.content(found, compare(found, found))) == [A4_MM]


@pytest.mark.slow
def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    pytest.importorskip("weasyprint")
    written = []
    for name in ("one", "two"):
        files = write_report(made.content(made.findings()), tmp_path / name)
        assert files.pdf is not None
        written.append([path.read_bytes() for path in (files.html, files.pdf, files.json)])
    assert written[0] == written[1]


@pytest.mark.parametrize(
    ("raised", "remedy"),
    [(ImportError("no module"), "nervehand[train]"), (OSError("cannot load library"), "libpango-1.0-0")],
)
def test_where_no_pdf_can_be_made_one_line_says_what_to_install_and_the_rest_is_written(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    raised: Exception,
    remedy: str,
) -> None:
    real = importlib.import_module

    def without(name: str, package: str | None = None) -> ModuleType:
        if name == "weasyprint":
            builtins.print("a page of advice")
            raise raised
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", without)
    (tmp_path / "report.pdf").write_bytes(b"of an earlier calibration")
    files = write_report(made.content(made.findings()), tmp_path)
    assert files.pdf is None
    assert remedy in files.missing
    assert "\n" not in files.missing
    assert files.html.exists()
    assert files.json.exists()
    assert not (tmp_path / "report.pdf").exists()
    assert capsys.readouterr().out == ""
    with pytest.raises(PdfMissingError):
        pdf_of("<p>")


@pytest.mark.parametrize("library", ["jinja2", "matplotlib"])
def test_a_page_cannot_be_made_without_its_libraries_and_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, library: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(NervehandError, match=r"nervehand\[train\]"):
        write_report(made.content(made.findings()), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(NervehandError, match="taken"):
        write_report(made.content(made.findings()), tmp_path / "taken")


def test_an_earlier_report_that_is_none_is_named(tmp_path: Path) -> None:
    for name, text in (("broken.json", "{"), ("list.json", "[]")):
        (tmp_path / name).write_text(text)
        with pytest.raises(NervehandError, match=name):
            read_report(tmp_path / name)
    with pytest.raises(NervehandError, match=r"none\.json"):
        read_report(tmp_path / "none.json")


def test_numbers_are_kept_to_six_digits_and_all_are_numbers() -> None:
    text = json.dumps(made.content(made.extreme()).to_json(), allow_nan=False)
    digits = [len(number.split(".")[1]) for number in re.findall(r"\d+\.\d+(?![\de])", text)]
    assert digits
    assert max(digits) <= 6
