"""Which annotations of a task count (`rasterise.annotators`).

latest              the latest finished one
ground_truth_first  the latest finished one marked as ground truth; if none is, the latest
majority, staple    all finished ones, merged by `pipeline.consensus`
"""

from __future__ import annotations

from collections.abc import Sequence

from schemas.tasks import Annotation


def usable(annotations: Sequence[Annotation]) -> list[Annotation]:
    """Finished work: what was not skipped. (Drafts are never pulled.) The latest comes last, the higher id at a tie."""
    finished = [annotation for annotation in annotations if not annotation.was_cancelled]
    return sorted(finished, key=lambda entry: (entry.updated_at or "", entry.annotation_id))


def chosen(annotations: Sequence[Annotation], policy: str) -> list[Annotation]:
    """Those that become the mask, the latest last; empty if there is no finished one."""
    finished = usable(annotations)
    if policy in ("majority", "staple"):
        return finished
    if policy == "ground_truth_first":
        finished = sorted(finished, key=lambda entry: entry.ground_truth)
    return finished[-1:]
