import pytest

from pipeline.annotations import chosen, usable
from schemas.tasks import Annotation


def work(
    annotation_id: int,
    updated_at: str | None = "2026-01-01",
    was_cancelled: bool = False,
    ground_truth: bool = False,
) -> Annotation:
    return Annotation(annotation_id, "1", None, updated_at, was_cancelled, ground_truth, None, None, "[]")


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
    found = chosen(annotations, "latest")
    assert [entry.annotation_id for entry in found] == ([] if expected is None else [expected])


@pytest.mark.parametrize(
    ("policy", "expected"),
    [("latest", [3]), ("ground_truth_first", [1]), ("majority", [2, 1, 3]), ("staple", [2, 1, 3])],
)
def test_policies(policy: str, expected: list[int]):
    annotations = [
        work(1, "2026-01-02", ground_truth=True),
        work(2, "2026-01-01", ground_truth=True),
        work(3, "2026-01-03"),
        work(4, "2026-01-04", was_cancelled=True, ground_truth=True),
    ]
    assert [entry.annotation_id for entry in chosen(annotations, policy)] == expected


def test_without_ground_truth_the_latest_counts():
    assert [entry.annotation_id for entry in chosen([work(1), work(2)], "ground_truth_first")] == [2]


def test_skipped_work_is_not_usable():
    assert [entry.annotation_id for entry in usable([work(1), work(2, was_cancelled=True), work(3)])] == [1, 3]
