"""Stage `gate`: the challenger becomes the champion unless it does worse on today's val samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from connectors.storage import read_json, write_json
from pipeline import checkpoint
from pipeline.checkpoint import ModelCard
from pipeline.dataset import Sample, read_samples, require
from pipeline.inference import Network, load_network, measure
from pipeline.metrics import scores
from pipeline.progress import Progress
from schemas.errors import ClassMapError, DataError
from schemas.manifest import CHALLENGER_DIR, CHAMPION_DIR, GATE
from schemas.params import Params


def gate(params: Params, folder: Path, progress: Progress) -> str:
    """Write `reports/gate.json`, and `models/champion/` if the challenger is promoted.

    Raises DataError without a challenger or a val sample, ClassMapError if the challenger has other classes.
    """
    samples = read_samples(folder, len(params.classes))
    require(samples, ("val",))
    val = samples["val"]
    challenger = measured(*load_network(folder / CHALLENGER_DIR, params), val, params, progress)
    champion, decision, reason = judge(params, folder, challenger, val, progress)
    if champion is challenger:  # decided before, perhaps by a run that was killed before DVC took note of it
        champion, decision, reason = _last_word(folder, challenger) or (champion, decision, reason)
    now = challenger if decision == "promoted" or champion is None else champion
    report = {
        "decision": decision,
        "reason": reason,
        "challenger": challenger,
        "champion_before": champion,
        "champion": now["model_version"],
        "val_samples": len(val),
    }
    write_json(folder / GATE, report)
    if decision == "promoted":
        checkpoint.copy(folder / CHALLENGER_DIR, folder / CHAMPION_DIR)
    return f"{decision}: {reason}"


def judge(
    params: Params, folder: Path, challenger: dict[str, Any], val: list[Sample], progress: Progress
) -> tuple[dict[str, Any] | None, str, str]:
    """The champion with its scores (None if there is none to compare), `promoted` or `kept`, and why."""
    champion_dir = folder / CHAMPION_DIR
    if not (champion_dir / checkpoint.CARD).is_file():
        return None, "promoted", "there was no champion"
    try:
        network, card = load_network(champion_dir, params)
        if card.model_version == challenger["model_version"]:
            return challenger, "kept", "the challenger is the champion already"
        champion = measured(network, card, val, params, progress)
    except (ClassMapError, DataError) as error:
        return None, "promoted", f"the champion can't be compared: {error}"
    tolerance = params.gate.tolerance
    rounded = f"mean IU {challenger['mean_iu']:.4f} against {champion['mean_iu']:.4f}"
    allowed = f", tolerance {tolerance:g}" if tolerance else ""
    if challenger["mean_iu"] >= champion["mean_iu"] - tolerance:
        return champion, "promoted", f"{rounded}{allowed}"
    return champion, "kept", f"the challenger is worse: {rounded}{allowed}"


def _last_word(folder: Path, challenger: dict[str, Any]) -> tuple[dict[str, Any] | None, str, str] | None:
    """What `reports/gate.json` says of this challenger, if it is about this one: champion before, decision, reason."""
    if not (folder / GATE).is_file():
        return None
    last = read_json(folder / GATE)
    if last["challenger"]["model_version"] != challenger["model_version"]:
        return None
    return last["champion_before"], last["decision"], last["reason"]


def measured(
    network: Network, card: ModelCard, val: list[Sample], params: Params, progress: Progress
) -> dict[str, Any]:
    """Model version and scores, 0..1, of a model on the val samples."""
    confusion = np.zeros((len(params.classes), len(params.classes)), np.int64)
    what = f"val samples, {card.model_version}"
    for _, _, each in progress.track(measure(network, val, params.evaluate.batch_size), len(val), what):
        confusion += each
    return {"model_version": card.model_version, **scores(confusion).as_json(card.classes)}
