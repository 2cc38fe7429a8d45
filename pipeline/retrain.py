"""`maskloop retrain`: one unattended round, for a scheduler."""

from __future__ import annotations

import enum
import os
import signal
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from connectors.storage import read_json
from schemas.errors import BusyError, DataError
from schemas.manifest import GATE, SCRATCH_DIR


class Verdict(enum.Enum):
    """What came of a round; the value is the exit code."""

    PROMOTED = 0
    FAILED = 1
    KEPT = 3
    NOTHING_NEW = 4
    BUSY = 5

    @property
    def meaning(self) -> str:
        """One sentence for the log."""
        return MEANINGS[self]


MEANINGS = {
    Verdict.PROMOTED: f"a new champion; its numbers are in {GATE}",
    Verdict.FAILED: "dvc repro failed; what it said is above, and everything is as the last finished stage left it",
    Verdict.KEPT: f"the challenger was not better, the champion stays; the numbers are in {GATE}",
    Verdict.NOTHING_NEW: "no new training data, so the champion stands",
    Verdict.BUSY: "another round is running in this folder",
}


def retrain(folder: Path, environment: dict[str, str]) -> Verdict:
    """Run `dvc repro` under a lock. Raises DataError if the folder has no dvc.yaml."""
    if not (folder / "dvc.yaml").exists():
        raise DataError(f"{folder.absolute()} has no dvc.yaml", "Run `maskloop init` there.")
    try:
        with locked(folder):
            gate_before = _locked_stage(folder, "gate")
            if _repro(folder, environment) != 0:
                return Verdict.FAILED
            if _locked_stage(folder, "gate") == gate_before:
                return Verdict.NOTHING_NEW
            promoted = read_json(folder / GATE)["decision"] == "promoted"
            return Verdict.PROMOTED if promoted else Verdict.KEPT
    except BusyError:
        return Verdict.BUSY


def locked(folder: Path) -> AbstractContextManager[object]:
    """The round's lock, held until the context ends; the system frees it when its holder dies.

    Raises BusyError if another process holds it.
    """
    (folder / SCRATCH_DIR).mkdir(exist_ok=True)
    lock = FileLock(folder / SCRATCH_DIR / "round.lock")
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        raise BusyError(f"another round is running in {folder.absolute()}") from None


def _repro(folder: Path, environment: dict[str, str]) -> int:
    """Exit code of `dvc repro`. A SIGTERM meanwhile ends it with all its stages, so that no round outlives its lock."""
    command = [sys.executable, "-m", "dvc", "repro"]
    with subprocess.Popen(command, cwd=folder, env=environment, start_new_session=True) as process:

        def end(*_: object) -> None:
            os.killpg(process.pid, signal.SIGTERM)

        before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            return process.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _locked_stage(folder: Path, stage: str) -> Any:
    path = folder / "dvc.lock"
    return yaml.safe_load(path.read_text())["stages"].get(stage) if path.exists() else None
