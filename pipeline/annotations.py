"""Which annotation of a task counts."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.tasks import Annotation


def usable(annotations: Sequence[Annotation]) -> list[Annotation]:
    """Finished work: what was not skipped. (Drafts are never pulled.)"""
    return [annotation for annotation in annotations if not annotation.was_cancelled]


def chosen(annotations: Sequence[Annotation]) -> Annotation | None:
    """The one that becomes the mask: the latest finished one, the higher id at a tie; None if there is none."""
    return max(usable(annotations), key=lambda entry: (entry.updated_at or "", entry.annotation_id), default=None)
