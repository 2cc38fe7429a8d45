"""Text → boxes → masks, with small random detectors."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from connectors.sam_pickle import read_sam_pickle, write_sam_pickle
from pipeline.prelabel import params_sha256, prelabel
from pipeline.progress import Silent
from pipeline.sam.detector import Detector
from pipeline.sam.model import Prompt, load_segmenter
from pipeline.sam.outlining import Detection, outline
from schemas.errors import DataError, ParamsError
from schemas.params import Params, parse_params
from tests.tiny_detector import write_tiny_grounding_dino, write_tiny_owlv2
from tests.tiny_sam import write_tiny_sam
from tests.unit.test_prelabel import pickles, project

PHRASES = [("car", "car"), ("van", "car"), ("traffic sign", "sign")]
IMAGE = np.kron(np.random.default_rng(0).integers(0, 256, (6, 8, 3)), np.ones((20, 20, 1))).astype(np.uint8)


@pytest.fixture(scope="module")
def owl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_owlv2(tmp_path_factory.mktemp("detectors") / "owl")


@pytest.fixture(scope="module")
def dino(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_grounding_dino(tmp_path_factory.mktemp("detectors") / "dino")


@pytest.fixture(scope="module")
def sam(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_sam(tmp_path_factory.mktemp("models") / "tiny")


@pytest.mark.parametrize("kind", ["owl", "dino"])
def test_detections_are_labelled_scored_and_within_the_image(kind: str, request: pytest.FixtureRequest) -> None:
    detector = Detector(str(request.getfixturevalue(kind)), PHRASES, 0.2)
    found = detector.detect(IMAGE)
    assert found == detector.detect(IMAGE) and len(found) > 1
    assert [item.score for item in found] == sorted((item.score for item in found), reverse=True)
    for item in found:
        left, top, right, bottom = item.box_xyxy
        assert 0 <= left < right <= 160 and 0 <= top < bottom <= 120
        assert item.label in {"car", "sign"} and 0.2 < item.score <= 1
    middle = found[len(found) // 2].score
    strict = Detector(str(request.getfixturevalue(kind)), PHRASES, middle).detect(IMAGE)
    assert strict == [item for item in found if item.score > middle]


def test_owl_boxes_are_those_of_its_processor(owl: Path) -> None:
    detector = Detector(str(owl), PHRASES, 0.0)
    text = [["a photo of a car", "a photo of a van", "a photo of a traffic sign"]]
    inputs = detector._processor(text=text, images=IMAGE, return_tensors="pt")
    with torch.no_grad():
        outputs = detector._model(**inputs)
    (expected,) = detector._processor.post_process_grounded_object_detection(outputs, 0.0, [(120, 160)])
    scores, boxes = detector._owl(IMAGE)
    assert torch.allclose(scores.amax(dim=1), expected["scores"])
    inside = torch.minimum(expected["boxes"].clamp(min=0), torch.tensor([160, 120] * 2))
    assert np.allclose(detector._in_pixels(boxes, 120, 160), inside, atol=1e-3)


def test_grounding_dino_scores_a_phrase_by_its_own_tokens(dino: Path) -> None:
    detector = Detector(str(dino), [*PHRASES, ("St. Bernard's", "dog")], 0.0)
    scores, boxes = detector._grounding_dino(IMAGE)
    inputs = detector._processor(text="car. van. traffic sign. st bernard's.", images=IMAGE, return_tensors="pt")
    with torch.no_grad():
        by_token = detector._model(**inputs).logits[0].sigmoid()
    tokens = detector._processor.tokenizer.convert_ids_to_tokens(inputs["input_ids"][0])
    dots = [place for place, token in enumerate(tokens) if token == "."]
    bounds = [0, *dots]  # [CLS] and every dot
    for phrase in range(4):
        own = by_token[:, bounds[phrase] + 1 : bounds[phrase + 1]].amax(dim=1)
        assert torch.allclose(scores[:, phrase], own, atol=1e-5)
    (expected,) = detector._processor.post_process_grounded_object_detection(
        detector._model(**inputs), threshold=0.0, target_sizes=[(120, 160)]
    )
    inside = torch.minimum(expected["boxes"].clamp(min=0), torch.tensor([160, 120] * 2)).detach()
    assert np.allclose(detector._in_pixels(boxes, 120, 160), inside, atol=1e-2)


def test_too_many_names_are_refused(dino: Path) -> None:
    with pytest.raises(ParamsError, match=r"make 92 tokens, and prelabel\.detector takes 64"):
        Detector(str(dino), [("abcdefgh", "x")] * 10, 0.5).detect(IMAGE)


def test_what_is_no_detector_is_named(sam: Path, owl: Path, tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="is a sam, expected one of: grounding-dino, owlv2, owlvit"):
        Detector(str(sam), PHRASES, 0.5)
    with pytest.raises(ParamsError, match=r"prelabel.detector: .* can't be loaded"):
        Detector(str(tmp_path / "nowhere"), PHRASES, 0.5)
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in owl.iterdir():
        (broken / file.name).write_bytes(file.read_bytes()[: 500 if file.suffix == ".safetensors" else None])
    with pytest.raises(DataError, match="corrupt"):
        Detector(str(broken), PHRASES, 0.5)


def test_the_better_detection_gets_the_pixels_both_claim(sam: Path) -> None:
    segmenter = load_segmenter(str(sam), "cpu")
    embedding = segmenter.embed(IMAGE)
    candidates = [(x, 10.0, x + width, 110.0) for x in (5.0, 40.0, 75.0) for width in (40.0, 80.0)]
    boxes, alone = next(
        (pair, masks)
        for pair in itertools.permutations(candidates, 2)
        for masks in [[segmenter.segment(embedding, Prompt(box_xyxy=box)).masks[0] for box in pair]]
        if (masks[0] & masks[1]).any() and (masks[1] & ~masks[0]).any()
    )
    found = outline(segmenter, embedding, [Detection("sign", 0.4, boxes[1]), Detection("car", 0.8, boxes[0])])
    assert [(item.label, item.label_score) for item in found] == [("car", 0.8), ("sign", 0.4)]
    assert np.array_equal(found[0].mask((120, 160)), alone[0])
    assert np.array_equal(found[1].mask((120, 160)), alone[1] & ~alone[0])
    twice = outline(segmenter, embedding, [Detection("car", 0.8, boxes[0]), Detection("sign", 0.4, boxes[0])])
    assert len(twice) == 1, "nothing is left of the second"
    assert outline(segmenter, embedding, []) == []


def detecting(sam: Path, owl: Path, **more: object) -> Params:
    return parse_params(
        {
            "source": {"kind": "label_studio", "project": 1},
            "classes": [{"name": "car", "synonyms": ["van"]}, {"name": "road"}],
            "prelabel": {"model": str(sam), "detector": str(owl), "device": "cpu", "points_per_side": 0} | more,
        }
    )


def test_prelabels_carry_their_class(sam: Path, owl: Path, tmp_path: Path) -> None:
    project(tmp_path, [IMAGE])
    params = detecting(sam, owl, detector_threshold=0.1)
    assert "1 pre-labelled" in prelabel(params, tmp_path, Silent())
    image = read_sam_pickle(pickles(tmp_path)[0])
    assert image.prelabels and image.model.startswith("tiny-")
    assert all(item.label in {"car", "road"} and item.label_score > 0.1 for item in image.prelabels)
    write_sam_pickle(tmp_path / "again.pkl", image)
    assert (tmp_path / "again.pkl").read_bytes() == pickles(tmp_path)[0].read_bytes()
    covered = np.sum([item.mask(image.size_hw) for item in image.prelabels], axis=0)
    assert covered.max() == 1, "they don't overlap"
    assert "1 kept" in prelabel(params, tmp_path, Silent())


def test_names_decide_only_where_a_detector_looks_for_them(sam: Path, owl: Path) -> None:
    params = detecting(sam, owl)
    renamed = params.model_copy(update={"classes": params.classes[:1]})
    assert params_sha256(params) != params_sha256(renamed)
    no_detector = {"prelabel": params.prelabel.model_copy(update={"detector": None})}
    assert params_sha256(params.model_copy(update=no_detector)) == params_sha256(renamed.model_copy(update=no_detector))
