"""The recipes of `benchmarks.camvid` parse and build, and a drawn stand-in for CamVid runs through one of them."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import camvid
from benchmarks.camvid_data import CAMVID, CLASSES, camvid_params, camvid_project
from benchmarks.camvid_recipes import RECIPES
from connectors.storage import read_table
from pipeline.augment import Augmenter
from pipeline.losses import Criterion
from pipeline.models import build
from schemas.manifest import MANIFEST, MANIFEST_SCHEMA


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_parses_and_builds(name):
    options = camvid_params(dict(RECIPES[name].train)).train
    with torch.device("meta"):
        build(options.architecture, len(CLASSES), options.architecture_options)
    Criterion(options.loss, torch.ones(len(CLASSES)), options.ohem)
    Augmenter(options.augment, options.size_hw, options.window_hw)


def test_every_architecture_of_the_papers_has_a_recipe():
    sizes = {}
    for name in ("fcn32s", "fcn16s", "fcn8s", "segnet", "unet", "pspnet"):
        options = camvid_params(dict(RECIPES[name].train)).train
        assert options.architecture == name
        with torch.device("meta"):
            model = build(name, len(CLASSES), options.architecture_options)
        sizes[name] = sum(weight.numel() for weight in model.parameters()) / 1e6
    assert sizes == pytest.approx(
        {"fcn32s": 134.8, "fcn16s": 134.4, "fcn8s": 134.3, "segnet": 29.4, "unet": 31.0, "pspnet": 49.1}, rel=0.002
    )


def test_a_run_prints_curve_classes_and_whether_it_reached_its_aim(tmp_path, monkeypatch, capsys):
    draw(tmp_path / "camvid", images=3)
    small = "architecture_options={width: 4, output_stride: 16, decoder_stride: 2}"
    arguments = [str(tmp_path / "camvid"), "--recipe", "scratch10", "--smoke", "--epochs", "2", "--set", small]
    monkeypatch.setattr(sys, "argv", ["camvid", *arguments])
    camvid.main()
    printed = capsys.readouterr().out
    assert "minutes  val mean IU" in printed
    assert "  pole" in printed
    assert "to reach: 0.550 within 10 minutes: MISSED" in printed
    monkeypatch.setattr(sys, "argv", ["camvid", str(tmp_path)])
    with pytest.raises(SystemExit, match="holds no CamVid"):
        camvid.main()


def test_camvid_itself_becomes_a_project(tmp_path):
    if not (CAMVID / "trainannot").is_dir():
        pytest.skip(f"CamVid is not at {CAMVID}")
    camvid_project(CAMVID, tmp_path, images=4)
    rows = read_table(tmp_path / MANIFEST, MANIFEST_SCHEMA).to_pylist()
    assert [row["split"] for row in rows] == ["train"] * 4 + ["val"] * 4
    assert all(sum(row["class_pixels"]) + row["void_pixels"] == 360 * 480 for row in rows)


def draw(folder: Path, images: int) -> None:
    """Noise laid out as CamVid is."""
    random = np.random.default_rng(0)
    for split in ("train", "val"):
        for kind, shape in ((split, (96, 128, 3)), (f"{split}annot", (96, 128))):
            (folder / kind).mkdir(parents=True)
            for index in range(images):
                pixels = random.integers(0, 12 if kind.endswith("annot") else 256, shape, np.uint8)
                Image.fromarray(pixels).save(folder / kind / f"a_{index}.png")
