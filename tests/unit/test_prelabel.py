"""The prelabel stage: one pickle per distinct image, remade only when something that decides it changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from PIL import Image

from connectors.sam_pickle import read_sam_pickle
from connectors.storage import sha256_file
from connectors.task_store import task_row, write_part
from pipeline.prelabel import params_sha256, prelabel
from pipeline.progress import Silent
from pipeline.propose import PROPOSERS, make_proposer
from pipeline.turns import images_in_turn
from schemas.errors import ParamsError
from schemas.manifest import IMAGES_DIR, PRELABELS_DIR, TASKS_DIR
from schemas.params import Params, parse_params
from schemas.tasks import Task
from tests.tiny_sam import write_tiny_sam

T = TypeVar("T")


def params(**prelabel_params: object) -> Params:
    return parse_params(
        {
            "source": {"kind": "label_studio", "project": 1},
            "classes": [{"name": "road"}],
            "prelabel": {"sigma": 0.0, **prelabel_params},
        }
    )


def halves(left: int, right: int) -> np.ndarray:
    """RGB, 40 high and 60 wide: two grey levels side by side, the left one 20 wide."""
    image = np.full((40, 60, 3), right, dtype=np.uint8)
    image[:, :20] = left
    return image


def project(folder: Path, images: list[np.ndarray | bytes | None]) -> None:
    """One task per image; None: not fetched."""
    (folder / IMAGES_DIR).mkdir(parents=True, exist_ok=True)
    rows = {}
    for task_id, image in enumerate(images, start=1):
        row = task_row(Task(task_id, "1", {"image": "x"}, "x"))
        if image is not None:
            path = folder / IMAGES_DIR / "image.png"
            if isinstance(image, bytes):
                path.write_bytes(image)
            else:
                Image.fromarray(image).save(path)
            sha256 = sha256_file(path)
            path = path.rename(path.with_stem(sha256))
            row |= {"image": path.relative_to(folder).as_posix(), "image_sha256": sha256}
        rows[task_id] = row
    write_part(folder / TASKS_DIR, 0, rows)


def pickles(folder: Path) -> list[Path]:
    return sorted((folder / PRELABELS_DIR).iterdir())


@pytest.mark.parametrize("name", PROPOSERS)
def test_every_proposer_keeps_the_contract(name: str, tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 48, 3), dtype=np.uint8)
    image[:, :24] = 200
    settings = params(model=name, sigma=0.8, min_mask_region_area=20)
    prelabels = make_proposer(settings, tmp_path).propose(image.copy(), "0" * 64)
    assert prelabels == make_proposer(settings, tmp_path).propose(image, "0" * 64)
    assert prelabels
    for item in prelabels:
        mask = item.mask((64, 48))
        rows, columns = np.nonzero(mask)
        assert item.area == mask.sum() >= 20
        assert item.bbox == (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)
        assert all(mask[int(y), int(x)] for x, y in item.point_coords)
        assert 0 <= item.predicted_iou <= 1 and 0 <= item.stability_score <= 1
    assert [item.area for item in prelabels] == sorted((item.area for item in prelabels), reverse=True)


def test_felzenszwalb_tiles_the_image_along_its_edges(tmp_path: Path) -> None:
    large, small = make_proposer(params(), tmp_path).propose(halves(20, 230), "0" * 64)
    assert np.array_equal(large.mask((40, 60)), halves(0, 1)[..., 0] == 1)
    assert np.array_equal(small.mask((40, 60)), halves(0, 1)[..., 0] == 0)


def test_a_uniform_image_is_one_mask(tmp_path: Path) -> None:
    (only,) = make_proposer(params(), tmp_path).propose(np.full((20, 30, 3), 128, dtype=np.uint8), "0" * 64)
    assert (only.area, only.bbox) == (600, (0, 0, 30, 20))


def test_an_unknown_model_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="'sam9', expected one of: felzenszwalb"):
        prelabel(params(model="sam9"), tmp_path, Silent())


def test_one_pickle_per_distinct_readable_image(tmp_path: Path) -> None:
    project(tmp_path, [halves(0, 200), halves(0, 200), halves(90, 10), None, b"no image"])
    summary = prelabel(params(), tmp_path, Silent())
    assert summary == "3 images: 2 pre-labelled by felzenszwalb, 0 kept, 1 unreadable, 0 old files removed"
    for path in pickles(tmp_path):
        image = read_sam_pickle(path)
        assert (image.image_sha256, image.size_hw, image.model) == (path.stem, (40, 60), "felzenszwalb")
        assert len(image.prelabels) == 2
    assert len(pickles(tmp_path)) == 2


def test_only_what_changed_is_made_again(tmp_path: Path) -> None:
    project(tmp_path, [halves(0, 200), halves(90, 10)])
    prelabel(params(), tmp_path, Silent())
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in pickles(tmp_path)}
    assert "0 pre-labelled by felzenszwalb, 2 kept" in prelabel(params(), tmp_path, Silent())
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in pickles(tmp_path)} == before

    broken = pickles(tmp_path)[0]
    broken.write_bytes(b"torn")
    assert "1 pre-labelled by felzenszwalb, 1 kept" in prelabel(params(), tmp_path, Silent())
    assert broken.read_bytes() == before[broken][0]

    assert "2 pre-labelled by felzenszwalb, 0 kept" in prelabel(params(scale=99.0), tmp_path, Silent())


def test_pickles_of_images_that_are_gone_are_removed(tmp_path: Path) -> None:
    project(tmp_path, [halves(0, 200), halves(90, 10)])
    prelabel(params(), tmp_path, Silent())
    (tmp_path / PRELABELS_DIR / ".tmp-killed.pkl").write_bytes(b"half a file")
    project(tmp_path, [halves(0, 200)])
    assert prelabel(params(), tmp_path, Silent()).endswith("1 kept, 0 unreadable, 2 old files removed")
    assert len(pickles(tmp_path)) == 1


@pytest.mark.parametrize("kind", ["sam", "sam2"])
def test_segment_anything_goes_on_where_it_was_killed(kind: str, tmp_path: Path) -> None:
    lenient = {"points_per_side": 4, "pred_iou_thresh": 0.0, "stability_score_thresh": 0.2, "device": "cpu"}
    settings = params(model=str(write_tiny_sam(tmp_path / "tiny", kind)), **lenient)
    project(tmp_path, [halves(0, 200), b"no image", halves(90, 10), halves(20, 30)])

    class Killed(Silent):
        def track(self, items: Iterable[T], total: int | None, what: str) -> Iterator[T]:
            yield from islice(items, 2)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prelabel(settings, tmp_path, Killed())
    first = pickles(tmp_path)
    assert [path.stem for path in first] == [next(iter(images_in_turn(tmp_path)))], "in the order of the tasks"
    before = first[0].stat().st_mtime_ns
    assert "4 images: 2 pre-labelled" in prelabel(settings, tmp_path, Silent())
    assert first[0].stat().st_mtime_ns == before and len(pickles(tmp_path)) == 3
    assert len(list((tmp_path / ".maskloop/embeddings").glob("tiny-*/*.safetensors"))) == 3
    for path in pickles(tmp_path):
        image = read_sam_pickle(path)
        assert image.model.startswith("tiny-") and image.prelabels
        assert all(0 < item.area <= 2400 for item in image.prelabels)
    contents = [path.read_bytes() for path in pickles(tmp_path)]
    for path in pickles(tmp_path):
        path.unlink()
    prelabel(settings, tmp_path, Silent())
    assert [path.read_bytes() for path in pickles(tmp_path)] == contents, "from kept embeddings"


def test_other_weights_in_the_same_folder_make_pre_labels_anew(tmp_path: Path) -> None:
    settings = params(model=str(write_tiny_sam(tmp_path / "tiny")), device="cpu")
    before = params_sha256(settings)
    assert params_sha256(params(model=str(tmp_path / "tiny"), device="auto", points_per_batch=3)) == before
    write_tiny_sam(tmp_path / "tiny", seed=1)
    assert params_sha256(settings) != before
