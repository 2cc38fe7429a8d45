"""Files of the project folder: the one place that opens them for writing, always atomically."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import DataError

ROW_GROUP_SIZE = 128 * 1024
TEMPORARY = ".tmp-"


@contextmanager
def replacing(path: Path, fsync: bool = False, mode: int = 0o644) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is renamed over `path`, on error it is removed.

    The file has its permissions, `mode`, from the moment it has its name.
    """
    temporary = Path(_new_beside(path))
    try:
        temporary.touch(0o600, exist_ok=False)
        yield temporary
        if fsync:
            with temporary.open("rb") as stream:
                os.fsync(stream.fileno())
        temporary.chmod(mode)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on success it takes the name `path`, on error it is removed.

    What killed calls left beside `path` is removed first, so one process at a time may write there.
    """
    for stale in path.parent.glob(f"{TEMPORARY}*"):
        shutil.rmtree(stale)
    temporary = path.with_name(f"{TEMPORARY}{path.name}")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        if path.exists():
            shutil.rmtree(path)
        temporary.replace(path)
    except BaseException:
        shutil.rmtree(temporary)
        raise


def write_bytes(path: Path, content: bytes, fsync: bool = False, mode: int = 0o644) -> bool:
    """Write `content` unless `path` holds it already. Returns whether it wrote."""
    if _holds(path, content):
        return False
    temporary = _new_beside(path)
    try:
        with open(temporary, "xb", opener=_open_private) as stream:
            stream.write(content)
            stream.flush()
            if fsync:
                os.fsync(stream.fileno())
        os.chmod(temporary, mode)  # noqa: PTH101
        os.replace(temporary, path)  # noqa: PTH105
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return True


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.stat().st_size == len(content) and path.read_bytes() == content
    except FileNotFoundError:
        return False


def _new_beside(path: Path) -> str:
    """An unused name in the folder of `path`, which is made if need be."""
    folder = os.path.dirname(path) or os.curdir  # noqa: PTH120
    if not os.path.isdir(folder):  # noqa: PTH112
        path.parent.mkdir(parents=True, exist_ok=True)
    return f"{folder}{os.sep}.tmp-{secrets.token_hex(8)}{path.suffix}"


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def write_json(path: Path, value: Any, fsync: bool = False) -> bool:
    """Write `value` as indented JSON with a final newline. Returns whether the file changed."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return write_bytes(path, text.encode(), fsync)


def read_json(path: Path) -> Any:
    """Read JSON. Raises DataError if the file is missing or malformed."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path} does not exist", "Run `dvc repro`.") from None
    except ValueError as error:
        raise DataError(f"{path} is not valid JSON: {error}", "Delete it and run `dvc repro`.") from error


def write_table(path: Path, rows: list[dict[str, Any]], schema: pa.Schema) -> bool:
    """Write rows as Parquet; the same rows give the same bytes. Returns whether the file changed."""
    return write_bytes(path, encode_table(pa.Table.from_pylist(rows, schema=schema)))


def encode_table(table: pa.Table, row_group_size: int = ROW_GROUP_SIZE, large: Sequence[str] | None = None) -> bytes:
    """A table as Parquet. The same rows give the same bytes, however the table was put together.

    For tables of small row groups, `large` names the columns (`a.list.element.b` in lists) that are worth compressing;
    there the others are not, and no statistics are kept, so that the table opens and its small columns read quickly.
    """
    sink = pa.BufferOutputStream()
    options: dict[str, Any] = {"compression": "zstd", "use_dictionary": False, "row_group_size": row_group_size}
    if large is not None:
        options |= {"compression": dict.fromkeys(large, "zstd"), "write_statistics": False}
    pq.write_table(table.combine_chunks(), sink, **options)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def read_table(path: Path, schema: pa.Schema, columns: list[str] | None = None) -> pa.Table:
    """Read Parquet, or some of its columns. Raises DataError if the file is missing, corrupt, or of another schema."""
    wanted = schema if columns is None else pa.schema([schema.field(name) for name in columns])
    with open_table(path, schema) as file:
        return file.read(wanted.names).select(wanted.names).cast(wanted)  # without the metadata that Parquet adds


@contextmanager
def open_table(path: Path, schema: pa.Schema) -> Iterator[pq.ParquetFile]:
    """Open Parquet to read parts of it. Raises DataError if the file is missing, corrupt, or of another schema."""
    try:
        with pq.ParquetFile(path) as file:
            if not file.schema_arrow.equals(schema):
                raise DataError(f"{path} was written by another version of maskloop", "Delete it and run `dvc repro`.")
            yield file
    except FileNotFoundError:
        raise DataError(f"{path} does not exist", "Run `dvc repro`.") from None
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} is no readable Parquet file: {error}", "Delete it and run `dvc repro`.") from error


def names(folder: Path) -> set[str]:
    """Names of what lies in a folder; empty if there is no such folder."""
    return set(os.listdir(folder)) if folder.is_dir() else set()  # noqa: PTH208 - no Path for each of many


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def remove_others(folder: Path, keep: set[str]) -> int:
    """Remove the files of `folder` whose names are not in `keep`, stale temporary ones too. Returns how many."""
    removed = 0
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.is_file() and path.name not in keep and path.name != ".gitignore":
            path.unlink()
            removed += 1
    return removed
