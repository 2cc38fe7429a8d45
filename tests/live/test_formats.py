"""Data sets in well-known formats, imported into a real Label Studio: pulled, they have their masks, bit for bit."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from connectors.base import Credentials
from connectors.formats import FORMATS, open_format
from connectors.label_studio import Server
from connectors.label_studio_server import LocalServer
from connectors.label_studio_setup import find_project
from connectors.labelled import Sample
from connectors.masks import read_mask
from pipeline import cli
from pipeline.components import components
from pipeline.progress import Silent
from pipeline.pull import pull
from pipeline.rasterise import rasterise
from pipeline.split import split
from schemas.labels import ClassEntry, ClassMap
from schemas.manifest import MANIFEST, REJECTS, SPLITS
from schemas.params import parse_params
from tests.live.conftest import login_of

CLASSES = [
    {"name": "road", "color": "#804080"},
    {"name": "car", "color": "#00008e"},
    {"name": "sky", "color": "#4682b4"},
]
SIZE_HW = (36, 48)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    """Images of noise; masks of blocks with ragged edges, holes, touching corners and, in the last, void."""
    folder, random = tmp_path_factory.mktemp("samples"), np.random.default_rng(8)
    made = []
    for number, part in enumerate(SPLITS, 1):
        image = folder / f"{number}.png"
        Image.fromarray(random.integers(0, 255, (*SIZE_HW, 3), dtype=np.uint8)).save(image)
        mask = drawn_mask(random, void=number == len(SPLITS))
        made.append(Sample(number, image, mask, part, partial(components, mask)))
    return made


def drawn_mask(random: np.random.Generator, void: bool) -> NDArray[np.uint8]:
    rows, columns = np.mgrid[: SIZE_HW[0], : SIZE_HW[1]]
    mask = np.where(rows < 18 + 4 * np.sin(columns / 5), 2, 0).astype(np.uint8)
    car = (rows - 22) ** 2 + (columns - 30) ** 2 < 90
    mask[car & (random.random(SIZE_HW) < 0.9)] = 1
    mask[5:9, 5:9] = mask[9:13, 9:13] = 1
    if void:
        mask[30:, 40:] = 255
    return mask


@pytest.mark.parametrize("name", FORMATS)
def test_an_imported_data_set_comes_back_bit_for_bit(
    name: str, samples: list[Sample], server: Server, local: LocalServer, tmp_path: Path
):
    dataset, title = tmp_path / "dataset", f"imported {name}"
    credentials = Credentials(server.url, login_of(local).api_key)
    classes = ClassMap([ClassEntry(**entry) for entry in CLASSES])
    list(open_format(name).write(samples, classes, dataset))

    runner = CliRunner(env={"LABEL_STUDIO_API_KEY": credentials.api_key})
    result = runner.invoke(cli.app, ["import", name, str(dataset), "--title", title, "--url", server.url])

    assert result.exit_code == 0, result.output
    number = find_project(server, title)
    assert f"3 tasks in project {number}: {server.url}/projects/{number}/data" in result.output
    found = masks(tmp_path, number, credentials)
    assert found.keys() == set(SPLITS)
    for sample in samples:
        np.testing.assert_array_equal(found[sample.split], sample.mask)


def masks(folder: Path, project: int | None, credentials: Credentials) -> dict[str, NDArray[np.uint8]]:
    """The mask of each split's only sample, as the stages make it; nothing may be rejected."""
    source = {"kind": "label_studio", "url": credentials.url, "project": project}
    params = parse_params({"source": source, "classes": CLASSES, "split": {"assigned_by": "split"}})
    pull(params, folder, Silent(), credentials)
    rasterise(params, folder, Silent())
    split(params, folder, Silent())
    assert pq.read_table(folder / REJECTS).num_rows == 0
    return {row["split"]: read_mask(folder / row["mask"]) for row in pq.read_table(folder / MANIFEST).to_pylist()}
