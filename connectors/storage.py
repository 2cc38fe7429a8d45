"""Files of the project folder: the one place that opens them for writing, always atomically."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import DataError

PARQUET_OPTIONS: dict[str, Any] = {"compression": "zstd", "row_group_size": 128 * 1024}


@contextmanager
def replacing(path: Path, fsync: bool = False, mode: int = 0o644) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is renamed over `path`, on error it is removed.

    The file has its permissions, `mode`, from the moment it has its name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".tmp-", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        if fsync:
            with temporary.open("rb") as stream:
                os.fsync(stream.fileno())
        temporary.chmod(mode)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_bytes(path: Path, content: bytes, fsync: bool = False, mode: int = 0o644) -> bool:
    """Write `content` unless `path` holds it already. Returns whether it wrote."""
    if path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content:
        return False
    with replacing(path, fsync, mode) as temporary:
        temporary.write_bytes(content)
    return True


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
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), sink, **PARQUET_OPTIONS)
    return write_bytes(path, sink.getvalue().to_pybytes())


def read_table(path: Path, schema: pa.Schema) -> pa.Table:
    """Read Parquet. Raises DataError if the file is missing, corrupt, or of another schema."""
    try:
        table = pq.read_table(path, partitioning=None)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist", "Run `dvc repro`.") from None
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} is no readable Parquet file: {error}", "Delete it and run `dvc repro`.") from error
    if not table.schema.equals(schema):
        raise DataError(f"{path} was written by another version of maskloop", "Delete it and run `dvc repro`.")
    return table


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
