"""Store the cases and their masks, which are the reference's, not maskloop's: `python -m tests.conformance.build`."""

from __future__ import annotations

import json
from pathlib import Path

from connectors.masks import encode_png
from tests.conformance.cases import Case, cases
from tests.conformance.reference import mask

FOLDER = Path(__file__).parent / "cases"


def stored(case: Case) -> tuple[str, bytes]:
    """A case's JSON and its mask's PNG."""
    return json.dumps(case, ensure_ascii=False) + "\n", encode_png(mask(case))


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for file in FOLDER.iterdir():
        file.unlink()
    for case in cases():
        text, png = stored(case)
        (FOLDER / f"{case['name']}.json").write_text(text)
        (FOLDER / f"{case['name']}.png").write_bytes(png)


if __name__ == "__main__":
    main()
