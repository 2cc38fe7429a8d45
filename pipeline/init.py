"""`maskloop init`: a project folder with a commented params.yaml, dvc.yaml, and DVC set up."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from connectors.storage import write_bytes
from schemas.errors import DataError

CHECKOUT = Path(__file__).resolve().parent.parent
"""maskloop is installed editable: its own params.yaml and dvc.yaml are the templates."""

IGNORED = (".env", "/.maskloop/")


def init(folder: Path, project: int, force: bool) -> Iterator[str]:
    """Write what is missing; yields a line for each thing done. An existing params.yaml is replaced only by `force`.

    Raises DataError if DVC can't be set up.
    """
    params = folder / "params.yaml"
    if params.exists() and not force:
        yield "params.yaml is here already and stays as it is (--force replaces it)"
    else:
        template = (CHECKOUT / "params.yaml").read_text(encoding="utf-8")
        write_bytes(params, re.sub(r"(?m)^(  project:) \d+", rf"\1 {project}", template).encode())
        yield "params.yaml written: name your server and your classes in it"
    if not (folder / "dvc.yaml").exists():
        shutil.copyfile(CHECKOUT / "dvc.yaml", folder / "dvc.yaml")
        yield "dvc.yaml written: the stages"
    ignore = folder / ".gitignore"
    known = ignore.read_text().splitlines() if ignore.exists() else []
    missing = [line for line in IGNORED if line not in known]
    if missing:
        write_bytes(ignore, "".join(f"{line}\n" for line in [*known, *missing]).encode())
        yield f".gitignore names {', '.join(missing)}"
    if not (folder / ".dvc").exists():
        yield _init_dvc(folder)


def _init_dvc(folder: Path) -> str:
    git = subprocess.run(
        ["git", "rev-parse", "--show-toplevel"], cwd=folder, capture_output=True, text=True, check=False
    )
    in_git, at_its_top = git.returncode == 0, Path(git.stdout.strip()) == folder.resolve()
    how = [] if at_its_top else ["--subdir" if in_git else "--no-scm"]
    command = [sys.executable, "-m", "dvc", "init", "--quiet", *how]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise DataError(f"`dvc init` failed: {result.stderr or result.stdout}", "Run it by hand to see why.")
    return f"DVC set up ({' '.join(how) or 'in git'})"
