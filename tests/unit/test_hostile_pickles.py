"""Hostile pickles: each is refused with one clear line, runs nothing, and takes no more than the file's own size."""

from __future__ import annotations

import _codecs
import builtins
import operator
import os
import pickle
import resource
import struct
import subprocess
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy._core import multiarray

from connectors.numeric_pickle import MAX_BYTES
from connectors.pickle_machine import MAX_DEPTH
from connectors.sam_pickle import read_sam_pickle
from schemas.errors import DataError

SIZE_HW = (5, 7)
MASK = np.zeros(SIZE_HW, dtype=bool)
MASK[1:4, 2:6] = True


def sam_content(**changes: object) -> dict[str, object]:
    """A genuine pickle's content with changes."""
    record = {
        "segmentation": MASK,
        "area": 12,
        "bbox": [2, 1, 4, 3],
        "predicted_iou": 0.5,
        "point_coords": [[2.0, 1.0]],
        "stability_score": 0.75,
        "crop_box": [0, 0, 7, 5],
    }
    return {"image_sha256": "ab12", "size_hw": SIZE_HW, "model": "sam_vit_b", "masks": [record]} | changes


def refused(folder: Path, content: bytes, expected: str) -> None:
    """Read a hostile file where it can be seen to run, to take memory or to take time."""
    path = folder / "hostile.pkl"
    path.write_bytes(content)
    started, peak = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match=expected) as caught:
        read_sam_pickle(path)
    assert "hostile.pkl" in str(caught.value) and caught.value.remedy
    assert os.listdir(folder) == ["hostile.pkl"]  # noqa: PTH208
    assert time.process_time() - started < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 64 * 1024  # kB


class Call:
    """Pickles as a call, which an ordinary reader would make."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call: tuple[object, ...] = (function, arguments)

    def __reduce__(self) -> tuple[object, ...]:
        return self.call

    def __call__(self) -> None:
        raise AssertionError("only its pickle is wanted")


class State(Call):
    """Pickles as a call followed by a state that is set on its result."""

    def __init__(self, function: object, arguments: tuple[object, ...], state: object) -> None:
        self.call = (function, arguments, state)


HOSTILE: dict[str, tuple[object, str]] = {
    "os.system": (Call(os.system, "touch ran"), r"\w+\.system"),
    "eval": (Call(eval, "open('ran', 'w')"), r"builtin\w*\.eval"),
    "exec": (Call(exec, "open('ran', 'w')"), r"builtin\w*\.exec"),
    "open": (Call(open, "ran", "w"), "_?io.open"),
    "import": (Call(builtins.__import__, "antigravity"), r"builtin\w*\.__import__"),
    "getattr chain": (
        Call(Call(getattr, Call(builtins.__import__, "os"), "system"), "touch ran"), r"builtin\w*\.getattr",
    ),
    "getattr of an allowed global": (Call(getattr, np.ndarray, "tofile"), r"builtin\w*\.getattr"),
    "a method caller": (operator.methodcaller("system", "touch ran"), r"\w+\.methodcaller"),
    "a partial call": (partial(os.system, "touch ran"), r"functools\.partial"),
    "subprocess": (Call(subprocess.Popen, ["touch", "ran"]), r"\w+\.Popen"),
    "nested pickle": (Call(pickle.loads, pickle.dumps(1)), "pickle.loads"),
    "a numpy loader": (Call(np.load, "ran.npy"), "numpy.load"),
    "object array": (np.array([{"a": 1}], dtype=object), "dtype 'O8'|dtype O8"),
    "object array with a call inside": (np.array([Call(os.system, "touch ran")], dtype=object), "system|O8"),
    "structured array": (np.zeros(2, dtype=[("a", "f8")]), "dtype V8"),
    "text array": (np.array(["a"]), "dtype U1"),
    "dates": (np.zeros(1, dtype="M8[s]"), "dtype M8"),
    "dtype of another type": (Call(np.dtype, ["O"]), "dtype list"),
    "object through a dtype's state": (
        State(np.dtype, ("f8", False, True), (3, "<", None, ("a",), {"a": (1, 0)}, 8, 1, 0)), "structured array",
    ),
    "array filled with objects": (
        State(multiarray._reconstruct, (np.ndarray, (0,), b"b"), (1, (1,), np.dtype("f8"), False, [1])), "of objects",
    ),
    "another array type": (Call(multiarray._reconstruct, np.dtype, (0,), b"b"), "other than numpy.ndarray"),
    "scalar of an object": (Call(multiarray.scalar, np.dtype("f8"), "x"), "scalar of objects"),
    "any codec": (Call(_codecs.encode, b"x", "zlib"), "latin1"),
}  # fmt: skip


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_object_is_refused_and_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, protocol: int
) -> None:
    monkeypatch.chdir(tmp_path)
    payload, expected = HOSTILE[name]
    refused(tmp_path, pickle.dumps(sam_content(extra=payload), protocol), expected)


def text(value: str) -> bytes:
    """SHORT_BINUNICODE."""
    return b"\x8c" + bytes([len(value)]) + value.encode()


def stack_global(module: str, name: str) -> bytes:
    return text(module) + text(name) + b"\x93"


def u32(value: int) -> bytes:
    return struct.pack("<I", value)


def u64(value: int) -> bytes:
    return struct.pack("<Q", value)


DTYPE = stack_global("numpy", "dtype")
F8 = DTYPE + text("f8") + b"\x85R"
ARRAY = (
    stack_global("numpy.core.multiarray", "_reconstruct") + stack_global("numpy", "ndarray") + b"K\x00\x85C\x01b\x87R"
)
FROM_BUFFER = stack_global("numpy.core.numeric", "_frombuffer")
SCALAR = stack_global("numpy.core.multiarray", "scalar")
NO_STATE = b"(K\x03" + text("|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t"

RAW: dict[str, tuple[bytes, str]] = {
    # globals, by every opcode that names one
    "GLOBAL": (b"\x80\x02cos\nsystem\n(Vtouch ran\ntR.", r"os\.system"),
    "GLOBAL without a call": (b"\x80\x02cos\nsystem\n.", r"os\.system"),
    "GLOBAL of Python 2": (b"c__builtin__\neval\n(Vopen('ran', 'w')\ntR.", r"__builtin__\.eval"),
    "STACK_GLOBAL": (stack_global("os", "system") + text("touch ran") + b"\x85R.", r"os\.system"),
    "STACK_GLOBAL from the memo": (text("system") + b"\x94" + text("os") + b"\x94h\x01h\x00\x93.", r"os\.system"),
    "STACK_GLOBAL of a dotted name": (stack_global("numpy", "ndarray.tofile") + b".", r"numpy\.ndarray\.tofile"),
    "STACK_GLOBAL through an allowed module": (stack_global("numpy", "core.multiarray.sys") + b".", "not allowed"),
    "STACK_GLOBAL of numbers": (b"K\x01K\x02\x93.", "something else than text"),
    "a name with a space": (b"cnumpy \ndtype\n.", "numpy .dtype"),
    "INST": (b"(ios\nsystem\n.", "opcode INST"),
    "INST with arguments": (b"(Vtouch ran\nios\nsystem\n.", "opcode INST"),
    "OBJ": (b"(" + DTYPE + text("f8") + b"o.", "opcode OBJ"),
    "NEWOBJ": (DTYPE + text("f8") + b"\x85\x81.", "opcode NEWOBJ"),
    "NEWOBJ_EX": (DTYPE + text("f8") + b"\x85}\x92.", "opcode NEWOBJ_EX"),
    "EXT1": (b"\x82\x01.", "opcode EXT1"),
    "EXT2": (b"\x83\x01\x00.", "opcode EXT2"),
    "EXT4": (b"\x84\x01\x00\x00\x00.", "opcode EXT4"),
    "PERSID": (b"Pos.system\n.", "opcode PERSID"),
    "BINPERSID": (text("os.system") + b"Q.", "opcode BINPERSID"),
    "NEXT_BUFFER": (b"\x80\x05\x97.", "opcode NEXT_BUFFER"),
    "READONLY_BUFFER": (b"\x80\x05C\x01a\x98.", "opcode READONLY_BUFFER"),
    "an unknown opcode": (b"\x80\x04\xff.", "opcode 0xff"),
    # calls of what is no global
    "REDUCE of text": (text("os.system") + b")R.", "calls str"),
    "REDUCE of an array": (ARRAY + b")R.", "calls PlainArray"),
    "REDUCE with a list": (DTYPE + b"]R.", "TypeError"),
    "REDUCE with a callable in place of the dtype": (SCALAR + DTYPE + b"C\x01a\x86R.", "scalar of objects"),
    "ndarray is called": (stack_global("numpy", "ndarray") + b"K\x05\x85R.", "calls numpy.ndarray"),
    # states
    "BUILD on a global": (DTYPE + b"}" + text("__call__") + b"K\x01sb.", "set on Constructor"),
    "BUILD with __setstate__": (DTYPE + b"}" + text("__setstate__") + DTYPE + b"sb.", "set on Constructor"),
    "BUILD with slots": (DTYPE + b"N}" + text("make") + b"K\x01s\x86b.", "set on Constructor"),
    "BUILD on a dict": (b"}}" + text("__class__") + b"K\x01sb.", "set on dict"),
    "BUILD of a dict on an array": (ARRAY + b"}" + text("value") + b"K\x01sb.", "ValueError"),
    "BUILD of objects": (ARRAY + b"(K\x01K\x01\x85" + DTYPE + text("O8") + b"\x85R\x89]tb.", "dtype O8"),
    # dtypes
    "huge itemsize": (DTYPE + text("V2147483647") + b"\x85R.", "dtype V2147483647"),
    "huge text dtype": (DTYPE + text("U536870911") + b"\x85R.", "dtype U536870911"),
    "comma-separated dtype": (DTYPE + text("f8,O") + b"\x85R.", "dtype f8,O"),
    "subarray dtype": (DTYPE + text("(99999,99999)f8") + b"\x85R.", "dtype"),
    "dtype with a trailing newline": (DTYPE + text("f8\n") + b"\x85R.", "dtype"),
    "scalar of dtype O": (SCALAR + DTYPE + text("O") + b"\x85RK\x01\x86R.", "dtype O"),
    "scalar of two values": (SCALAR + F8 + b"C\x10" + bytes(16) + b"\x86R.", "ValueError"),
    "frombuffer of objects": (
        FROM_BUFFER + b"(C\x08" + bytes(8) + DTYPE + text("O8") + b"\x85RK\x01\x85" + text("C") + b"tR.",
        "O8",
    ),
    "frombuffer of a list": (FROM_BUFFER + b"(]" + F8 + b"K\x01\x85" + text("C") + b"tR.", "array of objects"),
    "frombuffer with a longer shape": (
        FROM_BUFFER + b"(C\x08" + bytes(8) + F8 + b"\x8a\x05\x00\x00\x00\x00\x01\x85" + text("C") + b"tR.",
        "reshape",
    ),
    "frombuffer with a shape to be guessed": (
        FROM_BUFFER + b"(C\x08" + bytes(8) + F8 + b"J\xff\xff\xff\xff\x85" + text("C") + b"tR.",
        "tuple of lengths",
    ),
    # lengths
    "BINBYTES8 of 2^60": (b"\x8e" + u64(2**60) + b"a.", "announces 1152921504606846976 bytes"),
    "BINBYTES8 over 2^63": (b"\x8e" + u64(2**64 - 1) + b"a.", "announces"),
    "BINBYTES of 4 GB": (b"B" + u32(2**32 - 1) + b"a.", "announces 4294967295 bytes"),
    "BYTEARRAY8 of 2^40": (b"\x80\x05\x96" + u64(2**40) + b"a.", "announces"),
    "BINUNICODE8 of 2^40": (b"\x8d" + u64(2**40) + b"a.", "announces"),
    "LONG1 of 255 bytes": (b"\x8a\xff" + b"\x01" * 255 + b".", "integer of 255 bytes"),
    "LONG4 of 2 GB": (b"\x8b" + u32(2**31 - 1) + b".", "integer of 2147483647 bytes"),
    "LONG4 of a megabyte": (b"\x8b" + u32(2**20) + b"\x7f" * 2**20 + b".", "integer of 1048576 bytes"),
    "INT of 100,000 digits": (b"I" + b"9" * 100_000 + b"\n.", "integer of 100000 digits"),
    "FRAME longer than the file": (b"\x80\x04\x95" + u64(2**50) + b"N.", "frame of 1125899906842624 bytes"),
    "GLOBAL without an end": (b"c" + b"a" * 100, "ValueError"),
    # memo
    "LONG_BINPUT at 2^32": (b"Nr" + u32(2**32 - 1) + b".", "no SAM pickle|expected a dict"),
    "PUT at 10^18": (b"Np1000000000000000000\n.", "expected a dict"),
    "GET of nothing": (b"h\x05.", "KeyError"),
    "DUP": (b"]" + b"2" * 1000 + b".", "opcode DUP"),
    "DUP and APPEND": (b"]" + b"2a" * 40 + b".", "opcode DUP"),
    "POP below the stack": (b"000.", "opcode POP"),
    # depth
    "nested lists": (b"]" * 100_000 + b"a" * 99_999 + b".", "nested more than"),
    "nested tuples": (b")" + b"\x85" * 100_000 + b".", "nested more than"),
    "nested dicts": ((b"}" + text("a")) * 1000 + b"N" + b"s" * 1000 + b".", "nested more than"),
    "marks upon marks": (b"(" * 100_000 + b"t" * 100_000 + b".", "nested more than"),
    "nested after the fact": (
        b"]\x94" + b"".join(b"]\x94ah" + bytes([n + 1]) for n in range(200)) + b".",
        "changed after",
    ),
    "a list in itself": (b"]\x94h\x00a.", "changed after|nested"),
    # hashing and sets
    "a tuple as key, of 2^60 items": (
        b"K\x01"
        + b"\x94h\x00\x86" * 1
        + b"".join(b"\x94h" + bytes([n + 1]) + b"\x86" for n in range(25))
        + b"\x94}h\x00N0.",
        "opcode POP",
    ),
    "a key that is a tuple": (b"})Ns.", "key of type tuple"),
    "a key that is a number": (b"}K\x01Ns.", "key of type int"),
    "EMPTY_SET": (b"\x8f(K\x01\x90.", "opcode EMPTY_SET"),
    "FROZENSET": (b"(K\x01\x91.", "opcode FROZENSET"),
    # torn
    "APPEND to a number": (b"K\x01Na.", "TypeError"),
    "APPENDS without a mark": (b"]e.", "IndexError"),
    "TUPLE3 of one": (b"N\x87.", "IndexError"),
    "SETITEMS of an odd number": (b"}(" + text("a") + b"u.", "ValueError"),
    "no STOP": (b"\x80\x04N", "IndexError"),
}


@pytest.mark.parametrize("name", RAW)
def test_a_hostile_program_is_refused_and_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(tmp_path, *RAW[name])


def test_the_next_pickle_is_read_with_what_it_always_was(tmp_path: Path) -> None:
    for content, expected in RAW.values():
        refused(tmp_path, content, expected)
    path = tmp_path / "genuine.pkl"
    path.write_bytes(pickle.dumps(sam_content()))
    assert read_sam_pickle(path).prelabels[0].area == 12


@pytest.mark.parametrize("depth", [MAX_DEPTH, MAX_DEPTH + 1])
def test_nesting_is_counted_exactly(tmp_path: Path, depth: int) -> None:
    nested: object = ()
    for _ in range(depth - 2):
        nested = [nested]
    path = tmp_path / "nested.pkl"
    path.write_bytes(pickle.dumps(sam_content(extra=nested)))
    if depth > MAX_DEPTH:
        with pytest.raises(DataError, match="nested more than"):
            read_sam_pickle(path)
    else:
        assert read_sam_pickle(path).prelabels


def shared(count: int, **record: object) -> bytes:
    """A few bytes a mask: one record, again and again."""
    genuine = sam_content()["masks"][0] | record  # type: ignore[index]
    return pickle.dumps(sam_content(size_hw=(1000, 1000), masks=[genuine] * count))


def test_masks_that_share_their_data_can_claim_no_more_than_the_file_holds(tmp_path: Path) -> None:
    mask = np.zeros((1000, 1000), bool)
    refused(tmp_path, shared(20_000, segmentation=mask), "claim more than the file holds")
    runs = {"size": [1000, 1000], "counts": [1000] * 1000}
    refused(tmp_path, shared(20_000, segmentation=runs), "claim more than the file holds")
    points = [[1.0, 1.0]] * 1000
    empty = {"size": [1000, 1000], "counts": [1_000_000]}
    refused(tmp_path, shared(20_000, segmentation=empty, point_coords=points), "claim more than the file holds")


LONG_LIST = [0] * 100_000


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"bbox": LONG_LIST}, "list of 100000"),
        ({"crop_box": LONG_LIST}, "list of 100000"),
        ({"point_coords": [LONG_LIST]}, "list of 100000"),
        ({"segmentation": {"size": LONG_LIST, "counts": [1]}}, "list of 100000"),
        ({"predicted_iou": float("nan")}, "finite"),
        ({"predicted_iou": 10**40}, "integer of 17 bytes"),
        ({"label": 3}, "expected text"),
        ({"label_score": "high"}, "expected a number"),
        ({"segmentation": {"size": [5, 7], "counts": [2**40, 35 - 2**40]}}, "run lengths"),
        ({"segmentation": {"size": [5, 7], "counts": b"ooooooooooo1"}}, "corrupt"),
        ({"segmentation": {"size": [2**31, 2**31], "counts": [35]}}, "expected"),
    ],
)
def test_a_hostile_record_is_refused(tmp_path: Path, changes: dict[str, object], expected: str) -> None:
    record = sam_content()["masks"][0] | changes  # type: ignore[index]
    refused(tmp_path, pickle.dumps(sam_content(masks=[record])), expected)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.pkl"
    with path.open("wb") as stream:
        stream.truncate(MAX_BYTES + 1)
    with pytest.raises(DataError, match="expected at most"):
        read_sam_pickle(path)


@pytest.mark.parametrize("protocol", range(6))
def test_a_damaged_pickle_is_read_or_refused_and_nothing_else(tmp_path: Path, protocol: int) -> None:
    random = np.random.default_rng(protocol)
    content = sam_content(image=np.zeros((*SIZE_HW, 3), np.uint8), extra=np.float32(1))
    genuine = np.frombuffer(pickle.dumps(content, protocol), np.uint8)
    path = tmp_path / "damaged.pkl"
    refused_files = 0
    for _ in range(300):
        damaged = genuine.copy()
        damaged[random.integers(damaged.size, size=4)] = random.integers(256, size=4)
        path.write_bytes(damaged[: random.integers(damaged.size // 2, damaged.size + 1)].tobytes())
        try:
            read_sam_pickle(path)
        except DataError:
            refused_files += 1
    assert refused_files > 200
