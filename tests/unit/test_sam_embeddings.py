"""Embeddings are computed once, kept within bounds, and survive a torn file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.sam.embeddings import EmbeddingCache
from pipeline.sam.model import Embedding, load_segmenter
from pipeline.sam.network import SamSegmenter
from tests.tiny_sam import write_tiny_sam

IMAGES = {name: np.full((20, 30, 3), value, np.uint8) for value, name in enumerate("abcd")}


@pytest.fixture(scope="module", params=["sam", "sam2"])
def segmenter(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SamSegmenter:
    folder = write_tiny_sam(tmp_path_factory.mktemp("models") / "tiny", request.param)
    loaded = load_segmenter(str(folder), "cpu")
    assert isinstance(loaded, SamSegmenter)
    return loaded


@pytest.fixture
def embedded(segmenter: SamSegmenter, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The images that were embedded, by the value of their pixels."""
    seen: list[int] = []
    embed = SamSegmenter.embed

    def counting(self: SamSegmenter, image: np.ndarray) -> Embedding:
        seen.append(int(image[0, 0, 0]))
        return embed(self, image)

    monkeypatch.setattr(SamSegmenter, "embed", counting)
    return seen


def get(cache: EmbeddingCache, name: str) -> Embedding:
    return cache.embedding(name, lambda: IMAGES[name])


def files(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*/*.safetensors"))


def one_file_mb(segmenter: SamSegmenter, folder: Path) -> float:
    get(EmbeddingCache(segmenter, folder), "a")
    return next(folder.glob("*/*")).stat().st_size / 2**20


def test_an_image_is_embedded_once(segmenter: SamSegmenter, embedded: list[int], tmp_path: Path) -> None:
    cache = EmbeddingCache(segmenter, tmp_path)
    first, again = get(cache, "a"), get(cache, "a")
    other_process = get(EmbeddingCache(segmenter, tmp_path), "a")
    assert embedded == [0] and again is first and other_process.size_hw == (20, 30)
    assert len(other_process.features) == len(first.features)
    assert all(torch.equal(one, two) for one, two in zip(first.features, other_process.features, strict=True))


def test_other_weights_are_another_version(
    segmenter: SamSegmenter, embedded: list[int], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    get(EmbeddingCache(segmenter, tmp_path), "a")
    other = load_segmenter(str(write_tiny_sam(tmp_path_factory.mktemp("other") / "tiny", seed=7)), "cpu")
    get(EmbeddingCache(other, tmp_path), "a")
    assert embedded == [0, 0] and len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("content", [b"", b"\xff" * 100, None])
def test_a_torn_file_is_made_anew(
    segmenter: SamSegmenter, embedded: list[int], tmp_path: Path, content: bytes | None
) -> None:
    whole = get(EmbeddingCache(segmenter, tmp_path), "a")
    path = next(tmp_path.glob("*/*"))
    intact = path.read_bytes()
    path.write_bytes(intact[: len(intact) // 2] if content is None else content)
    anew = get(EmbeddingCache(segmenter, tmp_path), "a")
    assert embedded == [0, 0] and path.read_bytes() == intact
    assert torch.equal(anew.features[0], whole.features[0])


def test_disk_holds_the_most_recently_used(
    segmenter: SamSegmenter, embedded: list[int], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    size = one_file_mb(segmenter, tmp_path_factory.mktemp("one"))
    cache = EmbeddingCache(segmenter, tmp_path, disk_mb=2.5 * size + 0.003, memory_mb=0)
    for name in "ab":
        get(cache, name)
    for age, name in enumerate("ba"):  # b is the older one
        os.utime(next(tmp_path.glob(f"*/{name}.*")), ns=(age, age))
    get(cache, "c")
    assert files(tmp_path) == ["a", "c"]


def test_memory_holds_the_most_recently_used(segmenter: SamSegmenter, embedded: list[int], tmp_path: Path) -> None:
    cache = EmbeddingCache(segmenter, tmp_path, disk_mb=0, memory_mb=0)
    for name in "aab":
        get(cache, name)
    get(cache, "a")
    assert embedded == [0, 1, 0] and files(tmp_path) == []


def test_disk_holds_the_first_of_the_line(
    segmenter: SamSegmenter, embedded: list[int], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    size = one_file_mb(segmenter, tmp_path_factory.mktemp("one"))
    disk_mb = 2.5 * size + 0.003
    for name in "db":
        get(EmbeddingCache(segmenter, tmp_path, disk_mb), name)
    embedded.clear()
    cache = EmbeddingCache(segmenter, tmp_path, disk_mb, line="abc")
    for name in "abcd":
        get(cache, name)
    assert files(tmp_path) == ["a", "b"], "c is later, d is not in the line"
    get(EmbeddingCache(segmenter, tmp_path, disk_mb, line="ca"), "c")
    assert files(tmp_path) == ["a", "c"]
    assert embedded == [0, 2, 3, 2]


def test_an_embedding_larger_than_the_share_pushes_nothing_out(
    segmenter: SamSegmenter, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    size = one_file_mb(segmenter, tmp_path_factory.mktemp("one"))
    get(EmbeddingCache(segmenter, tmp_path), "a")
    get(EmbeddingCache(segmenter, tmp_path, disk_mb=0.5 * size), "b")
    assert files(tmp_path) == ["a"]
