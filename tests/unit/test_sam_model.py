"""SAM and SAM 2 through one interface: prompts, original checkpoints, and what goes wrong while loading."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Sam2Model, SamModel, SamProcessor
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

from pipeline.sam.model import Prompt, load_segmenter
from pipeline.sam.network import SamSegmenter
from schemas.errors import DataError, ParamsError
from tests.original_sam import SamPredictor, original_sam
from tests.tiny_sam import write_tiny_sam

CLICK = Prompt(np.array([[90.0, 40.0]]), np.array([True]))


def drawn(height: int = 60, width: int = 80, seed: int = 0) -> np.ndarray:
    """Coloured squares, RGB uint8 (H, W, 3)."""
    colours = np.random.default_rng(seed).integers(0, 256, (6, 8, 3))
    return np.kron(colours, np.ones((height // 6, width // 8, 1))).astype(np.uint8)


@pytest.fixture(scope="module", params=["sam", "sam2"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_sam(tmp_path_factory.mktemp("models") / request.param, request.param)


def loaded(folder: Path) -> SamSegmenter:
    segmenter = load_segmenter(str(folder), device="cpu")
    assert isinstance(segmenter, SamSegmenter)
    return segmenter


def test_a_single_point_gives_three_masks_best_first(folder: Path) -> None:
    segmenter = loaded(folder)
    answer = segmenter.segment(segmenter.embed(drawn(120, 160)), CLICK)
    assert answer.masks.shape == (3, 120, 160) and answer.masks.dtype == np.bool_
    assert list(answer.predicted_iou) == sorted(answer.predicted_iou, reverse=True)
    assert answer.logits.shape == (3, 32, 32) and len({mask.tobytes() for mask in answer.masks}) == 3


@pytest.mark.parametrize(
    "prompt",
    [
        Prompt(np.array([[90.0, 40.0], [20.0, 10.0]]), np.array([True, False])),
        Prompt(box_xyxy=(20.0, 10.0, 90.0, 70.0)),
        Prompt(np.array([[90.0, 40.0]]), np.array([True]), box_xyxy=(20.0, 10.0, 90.0, 70.0)),
        Prompt(mask_logits=np.zeros((32, 32), np.float32)),
    ],
    ids=["points", "box", "point and box", "mask"],
)
def test_what_is_not_ambiguous_gives_one(folder: Path, prompt: Prompt) -> None:
    segmenter = loaded(folder)
    embedding = segmenter.embed(drawn(120, 160))
    answer = segmenter.segment(embedding, prompt)
    assert answer.masks.shape == (1, 120, 160) and answer.predicted_iou.shape == (1,)
    again = segmenter.segment(embedding, prompt)
    assert np.array_equal(answer.logits, again.logits)


def test_points_and_previous_masks_matter(folder: Path) -> None:
    segmenter = loaded(folder)
    embedding = segmenter.embed(drawn(120, 160))
    point = np.array([[90.0, 40.0], [20.0, 10.0]])
    both = segmenter.segment(embedding, Prompt(point, np.array([True, True])))
    one = segmenter.segment(embedding, Prompt(point, np.array([True, False])))
    refined = segmenter.segment(embedding, Prompt(point, np.array([True, False]), mask_logits=both.logits[0]))
    assert np.abs(both.logits - one.logits).max() > 0.01 and np.abs(refined.logits - one.logits).max() > 0.01


def test_answers_are_those_of_the_whole_network(folder: Path) -> None:
    segmenter = loaded(folder)
    image = drawn(120, 160)
    architecture = SamModel if folder.name == "sam" else Sam2Model
    network = architecture.from_pretrained(folder).eval()
    scale_xy = [128 / 160, 128 / 160 if folder.name == "sam" else 128 / 120]
    with torch.no_grad():
        expected = network(
            pixel_values=torch.from_numpy(segmenter._input(image)),
            input_points=torch.tensor([[[[90.0 * scale_xy[0], 40.0 * scale_xy[1]]]]]),
            multimask_output=True,
        )
    answer = segmenter.segment(segmenter.embed(image), CLICK)
    order = expected.iou_scores[0, 0].argsort(descending=True)
    assert np.allclose(answer.logits, expected.pred_masks[0, 0, order], atol=5e-3)


def test_preprocessing_and_postprocessing_are_transformers_own(tmp_path: Path) -> None:
    segmenter = loaded(write_tiny_sam(tmp_path / "tiny"))
    side = {"longest_edge": 128}
    processor = SamProcessor(SamImageProcessorPil(size=side, pad_size={"height": 128, "width": 128}))
    image = drawn(90, 160)
    inputs = processor(image, return_tensors="pt")
    assert np.allclose(segmenter._input(image), inputs["pixel_values"].numpy(), atol=1e-5)
    answer = segmenter.segment(segmenter.embed(image), CLICK)
    (masks,) = processor.image_processor.post_process_masks(
        torch.from_numpy(answer.logits)[None, None], inputs["original_sizes"], inputs["reshaped_input_sizes"]
    )
    assert (masks[0].numpy() != answer.masks).sum() <= 1


@pytest.mark.parametrize("size_hw", [(120, 160), (300, 97), (128, 128)])
def test_an_original_checkpoint_answers_as_in_segment_anything(tmp_path: Path, size_hw: tuple[int, int]) -> None:
    checkpoint = tmp_path / "sam_vit_tiny.pth"
    predictor = SamPredictor(original_sam(checkpoint, 128, 32, 64))
    segmenter = loaded(checkpoint)
    image = np.random.default_rng(0).integers(0, 256, (*size_hw, 3), dtype=np.uint8)
    predictor.set_image(image)
    embedding = segmenter.embed(image)
    assert torch.allclose(embedding.features[0], predictor.features, atol=1e-4)
    point, box = np.array([[31.0, 40.0]]), np.array([10.0, 20.0, 60.0, 70.0])
    for prompt, expected in [
        (Prompt(point, np.array([True])), predictor.predict(point, np.array([1]))),
        (Prompt(box_xyxy=tuple(box)), predictor.predict(box=box, multimask_output=False)),
        (
            Prompt(point, np.array([False]), tuple(box)),
            predictor.predict(point, np.array([0]), box, multimask_output=False),
        ),
    ]:
        answer = segmenter.segment(embedding, prompt)
        masks, scores, logits = (part[np.argsort(-expected[1], kind="stable")] for part in expected)
        assert np.allclose(answer.predicted_iou, scores, atol=1e-4)
        assert np.allclose(answer.logits, logits, atol=2e-3)
        assert (answer.masks != masks).mean() < 1e-3


def test_the_version_follows_the_weights(tmp_path: Path) -> None:
    first, same, other = (
        loaded(write_tiny_sam(tmp_path / str(number) / "tiny", seed=seed)) for number, seed in enumerate((0, 0, 1))
    )
    assert first.version == same.version != other.version and first.version.startswith("tiny-")
    half = load_segmenter(str(tmp_path / "0" / "tiny"), "cpu", "bfloat16")
    assert half.version == f"{first.version}-bfloat16"
    image = drawn(120, 160)
    answer = half.segment(half.embed(image), CLICK)
    exact = first.segment(first.embed(image), CLICK)
    assert np.abs(np.sort(answer.predicted_iou) - np.sort(exact.predicted_iou)).max() < 0.1


def test_the_hub_s_sam2_is_a_video_model_of_which_the_image_part_is_used(tmp_path: Path) -> None:
    expected = loaded(write_tiny_sam(tmp_path / "tiny", "sam2"))
    config = tmp_path / "tiny" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"model_type": "sam2_video"}))
    weights = tmp_path / "tiny" / "model.safetensors"
    save_file(load_file(weights) | {"memory_attention.layer_norm.weight": torch.ones(64)}, weights, {"format": "pt"})
    assert loaded(tmp_path / "tiny").version == expected.version


def test_prompts_that_say_nothing_are_refused(tmp_path: Path) -> None:
    segmenter = loaded(write_tiny_sam(tmp_path / "tiny"))
    embedding = segmenter.embed(drawn())
    with pytest.raises(ParamsError, match="the prompt is empty"):
        segmenter.segment(embedding, Prompt())
    with pytest.raises(ParamsError, match="mask of the prompt is 7x7, expected logits of an answer, 32x32"):
        segmenter.segment(embedding, Prompt(mask_logits=np.zeros((7, 7), np.float32)))


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "pipeline.sam.network")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ParamsError, match="package transformers") as caught:
        load_segmenter("facebook/sam-vit-base")
    assert "pip install 'maskloop[sam]'" in caught.value.remedy


def test_a_hub_id_out_of_reach_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ParamsError, match=r"prelabel.model: facebook/no-such-sam can't be loaded: "):
        load_segmenter("facebook/no-such-sam")


def test_an_empty_folder_and_a_missing_checkpoint_are_named(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="can't be loaded"):
        load_segmenter(str(tmp_path))
    with pytest.raises(ParamsError, match=r"sam_vit_b\.pth does not exist"):
        load_segmenter(str(tmp_path / "sam_vit_b.pth"))


def test_another_kind_of_network_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ParamsError, match="is a bert, expected one of: sam, sam2"):
        load_segmenter(str(tmp_path))


def test_corrupt_and_incomplete_weights_are_refused(tmp_path: Path) -> None:
    weights = write_tiny_sam(tmp_path / "tiny") / "model.safetensors"
    tensors = load_file(weights)
    del tensors["mask_decoder.iou_token.weight"]
    save_file(tensors, weights, {"format": "pt"})
    with pytest.raises(DataError, match=r"lack 1 parameters of a sam, such as mask_decoder.iou_token.weight"):
        loaded(tmp_path / "tiny")
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(DataError, match="corrupt"):
        loaded(tmp_path / "tiny")


def test_corrupt_and_foreign_checkpoints_are_refused(tmp_path: Path) -> None:
    checkpoint = tmp_path / "sam.pth"
    original_sam(checkpoint, 64, 32, 32)
    weights = torch.load(checkpoint, weights_only=True)
    whole = checkpoint.read_bytes()
    for content in (b"", b"no pickle", whole[: len(whole) // 2]):
        checkpoint.write_bytes(content)
        with pytest.raises(DataError, match="no readable checkpoint"):
            loaded(checkpoint)
    torch.save([1, 2], checkpoint)
    with pytest.raises(DataError, match="holds no weights of SAM"):
        loaded(checkpoint)
    torch.save({"conv.weight": torch.zeros(3)}, checkpoint)
    with pytest.raises(DataError, match=r"lacks 'image_encoder.pos_embed'"):
        loaded(checkpoint)
    torch.save(weights | {"mask_decoder.iou_token.weight": torch.zeros(2, 32)}, checkpoint)
    with pytest.raises(DataError, match="does not fit SAM"):
        loaded(checkpoint)


def test_a_checkpoint_runs_no_code(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (Path(tmp_path / "ran"),)

    torch.save({"weight": Bomb()}, tmp_path / "bomb.pth")
    with pytest.raises(DataError, match="no readable checkpoint"):
        loaded(tmp_path / "bomb.pth")
    assert not (tmp_path / "ran").exists()


def test_a_gpu_that_is_not_there_is_named(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ParamsError, match="torch finds no GPU"):
        load_segmenter(str(tmp_path), device="cuda")
