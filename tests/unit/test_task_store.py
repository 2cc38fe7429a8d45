"""`data/tasks/`: parts by task id, of which a delta rewrites only those it touches."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from connectors.storage import write_bytes
from connectors.task_store import (
    BATCH_TASKS,
    GROUP_TASKS,
    batches,
    part_of,
    read_batch,
    read_index,
    read_part,
    read_tasks,
    row_annotations,
    task_row,
    tidy,
    write_part,
)
from schemas.errors import DataError
from schemas.tasks import TASKS_SCHEMA, Annotation, Task

WORK = Annotation(5, "3", "2026-01-01", None, False, True, 12, 1.5, '[{"id":"r"}]')


def row(task_id: int, revision: str = "1"):
    return task_row(Task(task_id, revision, {"image": "ü.png", "video": "a"}, "ü.png", (WORK,)))


def write(folder: Path, *task_ids: int) -> None:
    for part in {part_of(task_id) for task_id in task_ids}:
        write_part(folder, part, {task_id: row(task_id) for task_id in task_ids if part_of(task_id) == part})


def stored_ids(folder: Path) -> list[int]:
    return read_tasks(folder)["task_id"].to_pylist()


def test_a_task_comes_back_whole(tmp_path: Path):
    write(tmp_path, 7)
    (stored,) = read_tasks(tmp_path).to_pylist()
    assert stored == row(7)
    assert row_annotations(stored) == [WORK]


def test_tasks_come_sorted_from_all_parts(tmp_path: Path):
    write(tmp_path, 12_000, 999, 1000, 1)
    assert [part_of(task_id) for task_id in (1, 999, 1000, 12_000)] == [0, 0, 1, 12]
    assert len(list(tmp_path.iterdir())) == 3
    assert stored_ids(tmp_path) == [1, 999, 1000, 12_000]


def test_an_empty_store_has_the_columns(tmp_path: Path):
    assert read_tasks(tmp_path / "nowhere").schema.equals(TASKS_SCHEMA)
    assert read_tasks(tmp_path, ["task_id", "revision"]).column_names == ["task_id", "revision"]
    assert read_part(tmp_path, 3) == {}


def test_some_columns(tmp_path: Path):
    write(tmp_path, 1, 2)
    assert read_tasks(tmp_path, ["revision", "task_id"]).to_pylist() == [
        {"revision": "1", "task_id": 1},
        {"revision": "1", "task_id": 2},
    ]


def test_a_delta_rewrites_its_part_alone(tmp_path: Path):
    write(tmp_path, 1, 2, 1001)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert write_part(tmp_path, 0, read_part(tmp_path, 0) | {2: row(2, "2"), 3: row(3)})
    assert not write_part(tmp_path, 1, read_part(tmp_path, 1))
    after = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert {name for name in after if after[name] != before[name]} == {"00000000.parquet"}
    revisions = [(entry["task_id"], entry["revision"]) for entry in read_tasks(tmp_path).to_pylist()]
    assert revisions == [(1, "1"), (2, "2"), (3, "1"), (1001, "1")]


def test_the_order_of_arrival_does_not_matter(tmp_path: Path):
    write_part(tmp_path / "a", 0, {1: row(1), 2: row(2)})
    write_part(tmp_path / "b", 0, {2: row(2), 1: row(1)})
    assert (tmp_path / "a/00000000.parquet").read_bytes() == (tmp_path / "b/00000000.parquet").read_bytes()


def test_a_part_without_tasks_is_removed(tmp_path: Path):
    write(tmp_path, 1, 1001)
    assert write_part(tmp_path, 0, {})
    assert not write_part(tmp_path, 0, {})
    assert stored_ids(tmp_path) == [1001]


def test_tidy_removes_what_a_killed_run_left(tmp_path: Path):
    write(tmp_path, 1)
    write_bytes(tmp_path / ".tmp-x.parquet", b"half")
    tidy(tmp_path, {0})
    assert [path.name for path in tmp_path.iterdir()] == ["00000000.parquet"]
    tidy(tmp_path / "new", set())
    assert (tmp_path / "new").is_dir()


def test_a_corrupt_part_is_named(tmp_path: Path):
    write(tmp_path, 1, 1001)
    (tmp_path / "00000001.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"00000001\.parquet is no readable Parquet file"):
        read_tasks(tmp_path)


def test_batches_hold_the_wanted_tasks_alone(tmp_path: Path):
    most = GROUP_TASKS.stop - 1
    write(tmp_path, *range(1, 3 * most), 1000, 5000)
    index = read_index(tmp_path, ["task_id", "revision"])
    assert index["task_id"].to_pylist() == [*range(1, 3 * most), 1000, 5000]
    wanted = index.filter(pc.is_in(index["task_id"], pa.array([1, 2, 2 * most + 1, 1000, 99_999])))
    found = list(batches(wanted))
    assert [(batch.part, batch.groups) for batch in found] == [(0, {0: [1, 2], 2: [2 * most + 1]}), (1, {0: [1000]})]
    rows = [list(read_batch(tmp_path, batch)) for batch in found]
    assert rows == [[row(1), row(2), row(2 * most + 1)], [row(1000)]]


def test_batches_end_before_they_grow_large(tmp_path: Path):
    write(tmp_path, *range(300))
    found = list(batches(read_index(tmp_path, ["task_id"])))
    assert [len(batch) for batch in found] == [BATCH_TASKS] * (300 // BATCH_TASKS)
    assert [read["task_id"] for batch in found for read in read_batch(tmp_path, batch)] == list(range(300))


def test_row_groups_of_large_annotations_are_small(tmp_path: Path):
    large = {task_id: row(task_id) for task_id in range(20)}
    for entry in large.values():
        entry["annotations"] = [entry["annotations"][0] | {"result": " " * 2**20}]
    write_part(tmp_path, 0, large)
    assert read_index(tmp_path, [])["row_group"].to_pylist() == [n // GROUP_TASKS.start for n in range(20)]


def test_the_index_of_nothing(tmp_path: Path):
    assert read_index(tmp_path, ["task_id"]).column_names == ["task_id", "part", "row_group"]
    assert list(batches(read_index(tmp_path, ["task_id"]))) == []
