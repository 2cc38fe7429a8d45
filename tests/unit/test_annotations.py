import pytest

from pipeline.annotations import chosen, usable
from schemas.tasks import Annotation


def work(annotation_id: int, updated_at: str | None = "2026-01-01", was_cancelled: bool = False) -> Annotation:
    return Annotation(annotation_id, "1", None, updated_at, was_cancelled, False, None, None, "[]")


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        ([], None),
        ([work(1, was_cancelled=True)], None),
        ([work(1, "2026-01-02"), work(2, "2026-01-01")], 1),  # the latest
        ([work(2), work(1)], 2),  # the higher id at a tie
        ([work(1), work(2, "2027-01-01", was_cancelled=True)], 1),  # skipped work does not count
        ([work(1), work(9, None)], 1),  # without a date: the oldest
        ([work(3, None), work(4, None)], 4),
    ],
)
def test_the_one_that_counts(annotations: list[Annotation], expected: int | None):
    found = chosen(annotations)
    assert (found.annotation_id if found else None) == expected


def test_skipped_work_is_not_usable():
    assert [entry.annotation_id for entry in usable([work(1), work(2, was_cancelled=True), work(3)])] == [1, 3]
