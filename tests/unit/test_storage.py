"""Files are replaced whole or not at all, and only when their content changes."""

import hashlib
from pathlib import Path

import pyarrow as pa
import pytest

from connectors.storage import (
    read_json,
    read_table,
    remove_others,
    replacing,
    sha256_file,
    write_bytes,
    write_json,
    write_table,
)
from schemas.errors import DataError

SCHEMA = pa.schema([pa.field("task_id", pa.int64(), nullable=False), ("name", pa.string())])
ROWS = [{"task_id": 1, "name": "a"}, {"task_id": 2, "name": None}]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_the_old_file_and_no_other(tmp_path: Path, error: type[BaseException]):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(error), replacing(path) as temporary:
        temporary.write_text("half of the n")
        raise error
    assert path.read_text() == "old"
    assert names(tmp_path) == {"a.txt"}


@pytest.mark.parametrize("fsync", [False, True])
def test_the_file_appears_at_the_end(tmp_path: Path, fsync: bool):
    path = tmp_path / "new" / "folder" / "a.txt"
    with replacing(path, fsync) as temporary:
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o644
    assert names(path.parent) == {"a.txt"}


@pytest.mark.parametrize(
    "write",
    [
        lambda path, turn: write_bytes(path, f"{turn}".encode()),
        lambda path, turn: write_json(path, {"turn": turn}),
        lambda path, turn: write_table(path, [*ROWS, {"task_id": turn, "name": "z"}], SCHEMA),
    ],
    ids=["bytes", "json", "table"],
)
def test_unchanged_content_is_not_written_again(tmp_path: Path, write):
    path = tmp_path / "file"
    assert write(path, 3)
    before = path.stat().st_mtime_ns, path.stat().st_ino
    assert not write(path, 3)
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before
    assert write(path, 4)
    assert path.stat().st_ino != before[1]


def test_a_table_comes_back_and_the_same_rows_are_the_same_bytes(tmp_path: Path):
    for name in ("a", "b"):
        write_table(tmp_path / name, ROWS, SCHEMA)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert read_table(tmp_path / "a", SCHEMA).to_pylist() == ROWS


def test_json_comes_back_and_holds_no_nan(tmp_path: Path):
    write_json(tmp_path / "a.json", {"ü": [1, None]})
    assert (tmp_path / "a.json").read_text() == '{\n  "ü": [\n    1,\n    null\n  ]\n}\n'
    assert read_json(tmp_path / "a.json") == {"ü": [1, None]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", float("nan"))


def whole_table(folder: Path) -> bytes:
    write_table(folder / "whole", ROWS, SCHEMA)
    return (folder / "whole").read_bytes()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (lambda folder: None, "does not exist"),
        (lambda folder: b"", "no readable Parquet file"),
        (lambda folder: b"text\nof two lines", "no readable Parquet file"),
        (lambda folder: whole_table(folder)[:-9], "no readable Parquet file"),
        (lambda folder: b"PAR1" + b"\x00" * 40 + whole_table(folder)[44:], "no readable Parquet file"),
    ],
    ids=["missing", "empty", "text", "truncated", "overwritten"],
)
def test_an_unreadable_table_is_one_line(tmp_path: Path, content, said: str):
    path = tmp_path / "table.parquet"
    found = content(tmp_path)
    if found is not None:
        path.write_bytes(found)
    with pytest.raises(DataError, match=said) as caught:
        read_table(path, SCHEMA)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.remedy


def test_whatever_arrow_raises_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fails(*_, **__):
        raise pa.ArrowNotImplementedError("Integers with more than 64 bits\nnot implemented")  # seen of a flipped bit

    monkeypatch.setattr("connectors.storage.pq.ParquetFile", fails)
    with pytest.raises(DataError, match="no readable Parquet file: Integers with more than 64 bits not implemented"):
        read_table(tmp_path / "table", SCHEMA)


@pytest.mark.parametrize(
    "other",
    [
        pa.schema([("task_id", pa.int64())]),
        pa.schema([pa.field("task_id", pa.int32(), nullable=False), ("name", pa.string())]),
        pa.schema([("name", pa.string()), pa.field("task_id", pa.int64(), nullable=False)]),
    ],
    ids=["column missing", "other type", "other order"],
)
def test_a_table_of_another_schema_is_refused(tmp_path: Path, other: pa.Schema):
    write_table(tmp_path / "table", [{"task_id": 1, "name": "a"}], other)
    with pytest.raises(DataError, match="another version of maskloop"):
        read_table(tmp_path / "table", SCHEMA)


@pytest.mark.parametrize(
    ("content", "said"), [(None, "does not exist"), (b"{", "not valid JSON"), (b"\xff", "not valid")]
)
def test_unreadable_json_is_one_line(tmp_path: Path, content: bytes | None, said: str):
    if content is not None:
        (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DataError, match=said) as caught:
        read_json(tmp_path / "a.json")
    assert "\n" not in str(caught.value)


def test_others_are_removed_and_folders_are_not(tmp_path: Path):
    for name in ("keep", "other", ".tmp-abc.png", ".gitignore"):
        (tmp_path / name).touch()
    (tmp_path / "folder").mkdir()
    assert remove_others(tmp_path, {"keep"}) == 2
    assert names(tmp_path) == {"keep", ".gitignore", "folder"}
    assert remove_others(tmp_path / "nowhere", set()) == 0


def test_sha256(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"abc" * 100_000)
    assert sha256_file(tmp_path / "a") == hashlib.sha256(b"abc" * 100_000).hexdigest()
