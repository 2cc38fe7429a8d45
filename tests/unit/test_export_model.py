"""Exported models give what the network itself gives, without maskloop."""

import json

import numpy as np
import onnxruntime
import pytest
import torch

from pipeline import checkpoint
from pipeline.dataset import MEAN, STD, normalise
from pipeline.export_model import METADATA, export_model
from pipeline.models import build
from schemas.errors import ClassMapError, DataError
from schemas.labels import ClassEntry, ClassMap
from tests.model_cards import model_card
from tests.unit.test_models import SMALL

CLASS_MAP = ClassMap([ClassEntry("road", "#000000"), ClassEntry("car", "#ffffff"), ClassEntry("tree", "#00ff00")])
SIZE_HW = (45, 71)  # no multiple of anything


def saved(folder, architecture):
    """A model folder, and the network in it with batch statistics other than the initial ones."""
    torch.manual_seed(0)
    model = build(architecture, 3, SMALL[architecture])
    with torch.no_grad():
        model.train()(torch.randn(4, 3, *SIZE_HW))
    options = {"architecture": architecture, "architecture_options": SMALL[architecture]}
    card = model_card(CLASS_MAP, SIZE_HW, mean=MEAN, std=STD, **options)
    return model.eval(), checkpoint.save(folder, model.state_dict(), card)


def images(count):
    return np.random.default_rng(count).integers(0, 256, (count, *SIZE_HW, 3), np.uint8)


def logits(model, batch):
    with torch.no_grad():
        return model(normalise(torch.from_numpy(batch), MEAN, STD)).numpy()


@pytest.mark.parametrize(
    ("architecture", "equal"),
    [("fcn8s", 1.0), ("unet", 1.0), ("pspnet", 1.0), ("segnet", 0.99)],  # SegNet unpools by argmax: rounding flips some
)
def test_onnxruntime_gives_the_same_logits_for_any_batch(tmp_path, architecture, equal):
    model, card = saved(tmp_path, architecture)
    said = export_model(tmp_path, CLASS_MAP, tmp_path / "out.onnx", "onnx")
    assert card.model_version in said
    session = onnxruntime.InferenceSession(tmp_path / "out.onnx", providers=["CPUExecutionProvider"])
    for count in (1, 3):
        (found,) = session.run(["logits"], {"images": images(count)})
        assert np.isclose(found, logits(model, images(count)), rtol=1e-3, atol=1e-4).mean() >= equal
    metadata = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
    assert metadata["classes"] == list(CLASS_MAP.names)
    assert metadata["model_version"] == card.model_version


@pytest.mark.parametrize("architecture", ["segnet", "pspnet"])
def test_torch_export_gives_the_same_logits_for_any_batch(tmp_path, architecture):
    model, card = saved(tmp_path, architecture)
    export_model(tmp_path, CLASS_MAP, tmp_path / "out.pt2", "torch-export")
    extra = {METADATA: ""}
    loaded = torch.export.load(tmp_path / "out.pt2", extra_files=extra).module()
    for count in (1, 3):
        found = loaded(torch.from_numpy(images(count))).detach().numpy()
        np.testing.assert_allclose(found, logits(model, images(count)), rtol=1e-4, atol=1e-5)
    assert json.loads(extra[METADATA])["model_version"] == card.model_version


def test_no_model_and_another_models_classes_are_said_and_nothing_is_written(tmp_path):
    with pytest.raises(DataError, match=r"model\.json does not exist"):
        export_model(tmp_path, CLASS_MAP, tmp_path / "out.onnx", "onnx")
    saved(tmp_path, "unet")
    with pytest.raises(ClassMapError):
        export_model(tmp_path, ClassMap([ClassEntry("road", "#000000")]), tmp_path / "out.onnx", "onnx")
    assert not list(tmp_path.glob("*.onnx"))
