"""The report's section on pre-labels; its template is `report_prelabels.html.j2`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from connectors.storage import read_json
from pipeline.figures import coverage_svg
from pipeline.prelabel_summary import WANTED
from schemas.errors import DataError
from schemas.manifest import PRELABEL_REPORT

WAYS = {"human": "a region of people", "detector": "the text detector", "champion": "the champion"}
"""What gave masks their class, in the order of `prelabel.assign`'s default, as the page calls it."""


@dataclass(frozen=True, slots=True)
class PrelabelSection:
    """`summary`: what `reports/prelabels.json` holds, see `pipeline.prelabel_summary`. `curve`: its curve as SVG."""

    summary: dict[str, Any]
    curve: Markup
    ways: dict[str, str]


def prelabel_section(folder: Path) -> PrelabelSection:
    """What the template shows. Raises DataError if `assign` has not run, or found no mask."""
    summary = read_json(folder / PRELABEL_REPORT)
    if not summary["masks"]:
        raise DataError("no image has a pre-label", "Run `dvc repro` when images have been pulled.")
    return PrelabelSection(summary, coverage_svg(summary["curve"], WANTED), WAYS)
