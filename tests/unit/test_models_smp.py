"""Networks of segmentation-models-pytorch: against a made module where that is not installed."""

import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from pipeline import checkpoint
from pipeline.models import build
from pipeline.models.initial import load_encoder
from pipeline.progress import Silent
from schemas.errors import ParamsError

NAME = "segmentation_models_pytorch"


class Network(nn.Module):
    """As small as can be, with the attribute `encoder` of the real ones."""

    def __init__(self, classes, weights):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1))
        self.segmentation_head = nn.Conv2d(4, classes, 1)
        if weights == "imagenet":
            nn.init.constant_(self.encoder[0].weight, 0.5)

    def forward(self, images):
        assert images.shape[-1] % 32 == images.shape[-2] % 32 == 0
        return self.segmentation_head(self.encoder(images))


def create_model(arch, encoder_name="resnet34", encoder_weights="imagenet", in_channels=3, classes=1, **kwargs):
    """The signature and the errors of segmentation-models-pytorch 0.6."""
    if arch.lower() != "deeplabv3plus":
        raise KeyError(f"Wrong architecture type `{arch}`. Available options are: ['deeplabv3plus']")
    if encoder_name != "resnet50":
        raise KeyError(f"Wrong encoder name `{encoder_name}`, supported encoders: ['resnet50']")
    if set(kwargs) - {"encoder_output_stride"}:
        raise TypeError(f"DeepLabV3Plus.__init__() got an unexpected keyword argument '{next(iter(kwargs))}'")
    return Network(classes, encoder_weights)


@pytest.fixture
def installed(monkeypatch):
    monkeypatch.setitem(sys.modules, NAME, SimpleNamespace(create_model=create_model))


@pytest.mark.usefixtures("installed")
def test_a_network_by_name_has_our_contract():
    model = build("smp:DeepLabV3Plus/resnet50", 5, {"encoder_output_stride": 8})
    logits = model(torch.rand(1, 3, 37, 50))
    assert logits.shape == (1, 5, 37, 50)
    assert not (model.network.encoder[0].weight == 0.5).all()


@pytest.mark.usefixtures("installed")
def test_its_encoder_gets_imagenet_weights_only_on_request():
    model = build("smp:DeepLabV3Plus/resnet50", 5, {})
    load_encoder(model, "smp:DeepLabV3Plus/resnet50", "imagenet", None, Silent())
    assert (model.network.encoder[0].weight == 0.5).all()


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("architecture", "options", "message"),
    [
        ("smp:DeepLabV3Plus", {}, "expected smp:NETWORK/ENCODER"),
        ("smp:/resnet50", {}, "expected smp:NETWORK/ENCODER"),
        ("smp:DeepLab/resnet50", {}, "Wrong architecture type `DeepLab`"),
        ("smp:DeepLabV3Plus/resnet5", {}, "Wrong encoder name `resnet5`"),
        ("smp:DeepLabV3Plus/resnet50", {"widht": 3}, "unexpected keyword argument 'widht'"),
    ],
)
def test_wrong_names_and_options_are_told(architecture, options, message):
    with pytest.raises(ParamsError) as caught:
        build(architecture, 5, options)
    assert message in str(caught.value)


def test_without_it_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, NAME, None)
    with pytest.raises(ParamsError, match="segmentation-models-pytorch can't be imported") as caught:
        build("smp:DeepLabV3Plus/resnet50", 5, {})
    assert "pip install segmentation-models-pytorch" in caught.value.remedy


def test_its_model_versions_are_file_names():
    assert checkpoint._version("smp:DeepLabV3Plus/resnet50", b"") == "smp-DeepLabV3Plus-resnet50-e3b0c44298fc"
