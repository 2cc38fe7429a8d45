"""How well the train stage learns CamVid: the curve of val mean IU over minutes, IU per class, images/s.

    python -m benchmarks.camvid [CAMVID] --recipe NAME [--set KEY=VALUE ...] [--keep FOLDER] [--smoke]

Scores are of the full-size val labels. Minutes are those of training, decoding, validation and saving included.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import numpy as np
import yaml

from benchmarks.camvid_data import CAMVID, CLASSES, camvid_params, camvid_project, require_camvid
from benchmarks.camvid_recipes import RECIPES, Recipe
from pipeline.dataset import read_samples
from pipeline.inference import load_network, measure
from pipeline.metrics import Scores, scores
from pipeline.train import train
from schemas.manifest import CHALLENGER_DIR, TRAIN_REPORT_DIR
from schemas.params import Params

SMOKE = {"epochs": 1, "size_hw": [96, 128], "crop_hw": [96, 128], "batch_size": 4}
SMOKE_IMAGES = 8


class Clock:
    """A Progress that prints what is said and keeps the seconds at which each epoch ended."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self.ends: dict[int, float] = {}

    def track(self, items: Iterable[Any], total: int | None, what: Any) -> Iterator[Any]:
        """Yield `items`."""
        yield from items

    def say(self, text: str) -> None:
        """Print one line with the seconds since the start."""
        print(f"{self.seconds:6.0f} s  {text}", flush=True)
        if epoch := re.match(r"epoch (\d+)/", text):
            self.ends[int(epoch[1])] = self.seconds

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._started


@dataclass(frozen=True, slots=True)
class Outcome:
    """`curve`: (minutes, val mean IU) of each validation. `scores`: of the weights that were kept."""

    minutes: float
    images_per_s: float
    best_epoch: int
    curve: list[tuple[float, float]]
    scores: Scores


def run(params: Params, folder: Path) -> Outcome:
    """Train on the project in `folder`, and measure what came of it."""
    clock = Clock()
    print(train(params, folder, clock), flush=True)
    seconds = clock.seconds
    with (folder / TRAIN_REPORT_DIR / "plots/metrics/val/miou.tsv").open() as stream:
        rows = [(int(row["step"]) + 1, float(row["miou"])) for row in csv.DictReader(stream, delimiter="\t")]
    network, card = load_network(folder / CHALLENGER_DIR, params)
    samples = read_samples(folder, len(CLASSES))
    confusions = [confusion for *_, confusion in measure(network, samples["val"], params.train.batch_size)]
    return Outcome(
        seconds / 60,
        len(clock.ends) * len(samples["train"]) / seconds,
        card.epoch,
        [(clock.ends[epoch] / 60, mean_iu) for epoch, mean_iu in rows],
        scores(np.sum(confusions, axis=0)),
    )


def report(outcome: Outcome, recipe: Recipe) -> bool:
    """Print the curve, the classes and whether the recipe kept its word. Returns that."""
    print("\nminutes  val mean IU")
    for minutes, mean_iu in outcome.curve:
        print(f"{minutes:7.1f}  {mean_iu:.3f}")
    print("\nIU on val")
    for name, iu in zip(CLASSES, outcome.scores.per_class, strict=True):
        print(f"  {name:<12}{iu:.3f}")
    mean_iu = outcome.scores.mean_iu
    print(
        f"\nmean IU {mean_iu:.4f} (epoch {outcome.best_epoch}), pixel accuracy {outcome.scores.pixel_accuracy:.3f}, "
        f"{outcome.minutes:.1f} minutes, {outcome.images_per_s:.1f} images/s with decoding and validation"
    )
    if recipe.mean_iu is None:
        return True
    kept = mean_iu >= recipe.mean_iu and outcome.minutes <= (recipe.minutes or float("inf"))
    within = f" within {recipe.minutes:g} minutes" if recipe.minutes else ""
    print(f"to reach: {recipe.mean_iu:.3f}{within}: {'reached' if kept else 'MISSED'}")
    return kept


def arguments() -> argparse.Namespace:
    """The command line."""
    names = "\n".join(f"  {name:<12}{recipe.about}" for name, recipe in RECIPES.items())
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=f"recipes:\n{names}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("camvid", nargs="?", type=Path, default=CAMVID)
    parser.add_argument("--recipe", choices=RECIPES, default="defaults", metavar="NAME")
    parser.add_argument("--keep", type=Path, help="project folder to use and keep (default: a temporary one)")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="other train params, as YAML")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    parser.add_argument("--images", type=int, help="of each split, evenly spread (default: all)")
    parser.add_argument(
        "--smoke", action="store_true", help="whether it runs at all: 1 epoch of 8 images at 96×128, nothing to reach"
    )
    return parser.parse_args()


def changes(options: argparse.Namespace) -> dict[str, Any]:
    """What the command line makes of the recipe's parameters."""
    chosen = dict(RECIPES[options.recipe].train)
    chosen |= SMOKE if options.smoke else {}
    chosen |= {"epochs": options.epochs} if options.epochs else {}
    return chosen | {key: yaml.safe_load(value) for key, _, value in (each.partition("=") for each in options.set)}


def main() -> None:
    """Run the benchmark; fails if the recipe does not reach what it is for."""
    options = arguments()
    require_camvid(options.camvid)
    params = camvid_params(changes(options))
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        camvid_project(options.camvid, folder, options.images or (SMOKE_IMAGES if options.smoke else None))
        kept = report(run(params, folder), RECIPES[options.recipe])
    if not kept and not options.smoke:
        sys.exit(1)


if __name__ == "__main__":
    main()
