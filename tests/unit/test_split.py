from collections import Counter

import pytest

from pipeline.split import assign, split_of
from schemas.errors import DataError
from schemas.params import SplitParams


def test_shares_are_met():
    counts = Counter(split_of(f"video-{number}", SplitParams(val=0.2, test=0.1)) for number in range(5000))
    assert counts["val"] == pytest.approx(1000, rel=0.1)
    assert counts["test"] == pytest.approx(500, rel=0.15)


def test_a_group_keeps_its_split_and_the_seed_moves_it():
    groups = [f"video-{number}" for number in range(100)]
    first = [split_of(group, SplitParams()) for group in groups]
    assert first == [split_of(group, SplitParams()) for group in groups]
    assert first != [split_of(group, SplitParams(seed=1)) for group in groups]


def test_a_smaller_val_share_moves_only_val_samples_into_train():
    for number in range(500):
        wide, narrow = (split_of(str(number), SplitParams(val=val)) for val in (0.3, 0.1))
        assert wide == narrow or (wide, narrow) == ("val", "train")


def test_a_fixed_split_goes_before_the_hash():
    row = {"task_id": 4, "group": "g", "assigned_split": "test"}
    assert assign(row, SplitParams(assigned_by="split")) == "test"
    with pytest.raises(DataError, match=r"task 4: data\.split is 'dev'"):
        assign(row | {"assigned_split": "dev"}, SplitParams(assigned_by="split"))
