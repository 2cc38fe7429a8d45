"""Where annotations contradict themselves or each other: what annotators should look at first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from connectors.task_store import Row
from schemas.labels import ClassMap

SHOWN = 10


@dataclass(frozen=True, slots=True)
class ContestedPair:
    """Two classes with the pixels that regions of both cover, and in how many tasks."""

    labels: tuple[str, str]
    colors: tuple[str, str]
    pixels: int
    tasks: int


@dataclass(frozen=True, slots=True)
class ContestedTask:
    """A task with the pair of classes that contests most of its pixels: how many, and their share of the image."""

    task_id: int
    worst_pair: tuple[str, str]
    pixels: int
    share: float


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A task whose annotators agree least; `agreement`: mean IoU between their masks, 0..1."""

    task_id: int
    annotators: int
    agreement: float


@dataclass(frozen=True, slots=True)
class LabelQuality:
    """The worst of each, the worst first. `passed_over`: types of what is no region, the most frequent first."""

    pairs: tuple[ContestedPair, ...]
    tasks: tuple[ContestedTask, ...]
    disagreements: tuple[Disagreement, ...]
    passed_over: tuple[tuple[str, int], ...]


def label_quality(rows: Sequence[Row], class_map: ClassMap) -> LabelQuality:
    """What rows of the manifest say about the annotations."""
    pixels: Counter[tuple[int, int]] = Counter()
    tasks: Counter[tuple[int, int]] = Counter()
    passed_over: Counter[str] = Counter()
    contested = []
    for row in rows:
        passed_over.update({entry["kind"]: entry["count"] for entry in row.get("passed_over") or ()})
        for entry in row["contested"]:
            pixels[entry["a"], entry["b"]] += entry["pixels"]
            tasks[entry["a"], entry["b"]] += 1
        if row["contested"]:
            contested.append(_contested_task(row, class_map))
    pairs = (
        ContestedPair(
            (class_map.label(a), class_map.label(b)),
            (class_map.entries[a].color, class_map.entries[b].color),
            count,
            tasks[a, b],
        )
        for (a, b), count in sorted(pixels.items(), key=lambda entry: (-entry[1], entry[0]))[:SHOWN]
    )
    disputed = [row for row in rows if row["agreement"] is not None]
    disputed.sort(key=lambda row: (row["agreement"], row["task_id"]))
    return LabelQuality(
        tuple(pairs),
        tuple(sorted(contested, key=lambda task: (-task.share, task.task_id))[:SHOWN]),
        tuple(Disagreement(row["task_id"], row["annotators"], row["agreement"]) for row in disputed[:SHOWN]),
        tuple(passed_over.most_common()),
    )


def _contested_task(row: Row, class_map: ClassMap) -> ContestedTask:
    worst = max(row["contested"], key=lambda entry: entry["pixels"])
    pair = class_map.label(worst["a"]), class_map.label(worst["b"])
    return ContestedTask(row["task_id"], pair, worst["pixels"], worst["pixels"] / (row["width"] * row["height"]))
