"""`maskloop segment`: files for each mask of a prompt, and what it says to a wrong one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from connectors.images import open_rgb
from connectors.sam_pickle import read_sam_pickle
from connectors.storage import sha256_file
from pipeline.cli import app
from pipeline.sam.model import Prompt, load_segmenter
from schemas.errors import ImageError, MaskloopError, ParamsError
from tests.tiny_sam import write_tiny_sam


@pytest.fixture(scope="module")
def sam(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_sam(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(autouse=True)
def street(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with street.png, 160 px wide and 120 high."""
    colours = np.random.default_rng(0).integers(0, 256, (6, 8, 3))
    Image.fromarray(np.kron(colours, np.ones((20, 20, 1))).astype(np.uint8)).save(tmp_path / "street.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "street.png"


def run(*arguments: str) -> str:
    """What the command prints; raises what it raises."""
    result = CliRunner().invoke(app, ["segment", *arguments])
    if isinstance(result.exception, MaskloopError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_a_point_gives_three_masks_and_a_picture(sam: Path, street: Path) -> None:
    run("street.png", "--point", "90,40", "--model", str(sam), "--out", "found")
    report = json.loads(Path("found/masks.json").read_text())
    assert report["image_sha256"] == sha256_file(street) and report["model"].startswith("tiny-")
    assert report["prompt"] == {"points": [[90.0, 40.0]], "not_points": [], "box": None, "refines_a_mask": False}
    prelabels = read_sam_pickle(Path("found/masks.pkl")).prelabels
    assert len(report["masks"]) == len(prelabels) == 3
    scores = [mask["predicted_iou"] for mask in report["masks"]]
    assert scores == sorted(scores, reverse=True)
    for record, prelabel in zip(report["masks"], prelabels, strict=True):
        mask = open_rgb(Path("found") / record["file"])[..., 0]
        assert set(np.unique(mask)) <= {0, 255} and mask.shape == (120, 160)
        assert np.array_equal(mask == 255, prelabel.mask((120, 160))) and (mask == 255).sum() == record["area"]
    assert open_rgb(Path("found/overlay.png")).shape == (120, 3 * 160, 3)
    assert not Path(".maskloop").exists(), "no project here"


def test_points_and_a_box_give_one_mask(sam: Path) -> None:
    prompt = ["--point", "90,40", "--not-point", "10,10", "--box", "20,10,120,90"]
    assert "1 mask " in run("street.png", *prompt, "--model", str(sam))
    assert [path.name for path in sorted(Path("segment").glob("mask-*.png"))] == ["mask-1.png"]


def test_an_earlier_mask_is_refined(sam: Path) -> None:
    run("street.png", "--point", "90,40", "--model", str(sam), "--out", "first")
    run("street.png", "--not-point", "10,10", "--model", str(sam), "--out", "without")
    said = run("street.png", "--previous", "first/logits-2.npy", "--not-point", "10,10", "--model", str(sam))
    assert "1 mask " in said and json.loads(Path("segment/masks.json").read_text())["prompt"]["refines_a_mask"]
    network = load_segmenter(str(sam), "cpu")
    prompt = Prompt(np.array([[10.0, 10.0]]), np.array([False]), None, np.load("first/logits-2.npy"))
    expected = network.segment(network.embed(open_rgb(Path("street.png"))), prompt).masks[0]
    refined = open_rgb(Path("segment/mask-1.png"))[..., 0] == 255
    assert np.array_equal(refined, expected)
    assert not np.array_equal(refined, open_rgb(Path("without/mask-1.png"))[..., 0] == 255)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "FileNotFoundError"),
        (b"no array", "can't be read: "),
        (np.zeros((3, 4)), r"holds float64 \(3, 4\), expected float32"),
        (np.array([{}], dtype=object), "can't be read: ValueError"),
        (np.zeros((3, 4), np.float32), "the mask of the prompt is 3x4, expected logits of an answer"),
    ],
)
def test_a_previous_mask_that_is_none_is_explained(sam: Path, content: bytes | np.ndarray | None, message: str) -> None:
    if isinstance(content, bytes):
        Path("previous.npy").write_bytes(content)
    elif content is not None:
        np.save("previous.npy", content)
    with pytest.raises(ParamsError, match=message):
        run("street.png", "--previous", "previous.npy", "--point", "1,1", "--model", str(sam))
    assert not Path("segment").exists()


def test_fewer_masks_leave_none_of_an_earlier_answer(sam: Path) -> None:
    run("street.png", "--point", "90,40", "--model", str(sam))
    run("street.png", "--box", "20,10,120,90", "--model", str(sam))
    assert [path.name for path in Path("segment").glob("mask-*.png")] == ["mask-1.png"]


def test_a_project_names_the_model_and_keeps_the_embedding(sam: Path) -> None:
    Path("params.yaml").write_text(
        f"source: {{kind: label_studio, project: 1}}\nclasses: [{{name: road}}]\nprelabel: {{model: {sam}}}\n"
    )
    run("street.png", "--point", "90,40")
    assert len(list(Path(".maskloop/embeddings").glob("tiny-*/*.safetensors"))) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the prompt is empty"),
        (["--point", "90"], "--point is '90', expected x,y"),
        (["--point", "a,b"], "--point is 'a,b', expected x,y"),
        (["--box", "1,2,3"], "--box is '1,2,3', expected x0,y0,x1,y1"),
        (["--point", "400,40"], "the point 400,40 lies outside of the image, which is 160 px wide and 120 px high"),
        (["--point", "nan,40"], "the point nan,40 lies outside"),
        (["--box", "90,10,20,50"], "the box 90,10,20,50 is empty"),
    ],
)
def test_a_wrong_prompt_is_explained(sam: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        run("street.png", *arguments, "--model", str(sam))
    assert not Path("segment").exists()


def test_a_missing_image_or_model_is_named(sam: Path) -> None:
    with pytest.raises(ImageError, match=r"none.png does not exist"):
        run("none.png", "--point", "1,1", "--model", str(sam))
    with pytest.raises(ParamsError, match="no Segment Anything to ask"):
        run("street.png", "--point", "1,1")
