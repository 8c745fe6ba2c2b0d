"""A report's files: HTML, PDF where it can be made, and JSON."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Protocol

from calibration.report.content import Content
from calibration.report.page import html_page
from calibration.report.texts import TEXTS
from firmware_bridge.errors import NervehandError

HTML, PDF, JSON = "report.html", "report.pdf", "report.json"


@dataclass(frozen=True, slots=True)
class ReportFiles:
    """What was written; `pdf` None where it could not be made, and `missing` then says what to install."""

    html: Path
    pdf: Path | None
    json: Path
    missing: str = ""


def write_report(content: Content, folder: Path) -> ReportFiles:
    """Write the files into `folder`, which is made; the same content gives the same bytes.

    Raises NervehandError where they cannot be written, or Jinja2 or matplotlib is missing.
    """
    folder = Path(folder)
    page = html_page(content, JSON)
    numbers = json.dumps(content.to_json(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        html = _write(folder / HTML, page.encode())
        numbers_file = _write(folder / JSON, numbers.encode())
        try:
            pdf = _write(folder / PDF, pdf_of(page))
        except PdfMissingError as error:
            # One of an earlier calibration must not lie beside the new page.
            (folder / PDF).unlink(missing_ok=True)
            return ReportFiles(html, None, numbers_file, str(error))
    except OSError as error:
        raise NervehandError(
            f"{folder}: the report cannot be written ({error.strerror}): choose another place"
        ) from error
    return ReportFiles(html, pdf, numbers_file)


def read_report(path: Path) -> dict[str, object]:
    """The JSON of an earlier report, for `Calibrated.previous`. Raises NervehandError, naming the file."""
    try:
        report = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise NervehandError(
            f"{path}: cannot be read ({error.strerror}): give a report's JSON file"
        ) from error
    except ValueError as error:
        raise NervehandError(f"{path}: is not JSON ({error}): give a report's JSON file") from error
    if not isinstance(report, dict):
        raise NervehandError(f"{path}: is not a report: give a report's JSON file")
    return report


class PdfMissingError(NervehandError):
    """No PDF can be made here; the message says what to install."""


class Sheet(Protocol):
    """A page as laid out, in CSS pixels (96 to the inch)."""

    width: float
    height: float


class Document(Protocol):
    """What we use of WeasyPrint's document."""

    pages: Sequence[Sheet]

    def write_pdf(self) -> bytes: ...


def pdf_of(page: str) -> bytes:
    """The page as PDF. Raises PdfMissingError where what makes it is not installed."""
    return laid_out(page).write_pdf()


def laid_out(page: str) -> Document:
    """The page on its sheets, in matplotlib's own DejaVu Sans, so that it looks alike on every machine."""
    weasyprint = _weasyprint()
    from matplotlib import get_data_path

    fonts = Path(get_data_path()) / "fonts" / "ttf"
    faces = "".join(
        f'@font-face {{ font-family: "DejaVu Sans"; font-weight: {weight}; src: url("{(fonts / name).as_uri()}"); }}'
        for weight, name in (("normal", "DejaVuSans.ttf"), ("bold", "DejaVuSans-Bold.ttf"))
    )
    configuration = weasyprint.text.fonts.FontConfiguration()
    style = weasyprint.CSS(string=faces, font_config=configuration)
    document: Document = weasyprint.HTML(string=page).render(stylesheets=[style], font_config=configuration)
    return document


def _weasyprint() -> ModuleType:
    try:
        # Where Pango is missing it prints a page of advice before it raises.
        with contextlib.redirect_stdout(io.StringIO()):
            return importlib.import_module("weasyprint")
    except ImportError as error:
        raise PdfMissingError(_missing("pdf.no_package")) from error
    except OSError as error:
        raise PdfMissingError(_missing("pdf.no_pango")) from error


def _missing(what: str) -> str:
    return TEXTS["pdf.missing"].format(missing=TEXTS[what], remedy=TEXTS[f"{what}.remedy"])


def _write(path: Path, data: bytes) -> Path:
    """Whole or not at all; only its owner may read it."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path
