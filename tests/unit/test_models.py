"""The contract that every architecture of the registry keeps."""

import pytest
import torch

from pipeline.models import ARCHITECTURES, build
from schemas.errors import ParamsError

SIZES_HW = [(32, 32), (37, 51), (64, 33), (180, 240)]
SMALL = {"pspnet": {"width": 8}, "unet": {"width": 4}}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("size_hw", SIZES_HW)
def test_logits_have_the_size_of_the_input(architecture, size_hw):
    model = build(architecture, 5, SMALL.get(architecture, {})).eval()
    with torch.no_grad():
        logits = model(torch.rand(2, 3, *size_hw))
    assert logits.shape == (2, 5, *size_hw)
    assert logits.dtype == torch.float32
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_parameter_gets_a_gradient_in_training_even_from_one_image(architecture):
    torch.manual_seed(0)
    model = build(architecture, 5, SMALL.get(architecture, {})).train()
    heads = model.heads(torch.rand(1, 3, 61, 75))
    assert all(head.shape == (1, 5, 61, 75) for head in heads)
    sum((head * torch.rand_like(head)).sum() for head in heads).backward()
    untouched = [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert not untouched


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_evaluation_has_one_head_and_treats_images_apart(architecture):
    model = build(architecture, 5, SMALL.get(architecture, {})).eval()
    images = torch.rand(3, 3, 40, 40)
    with torch.no_grad():
        assert len(model.heads(images)) == 1
        torch.testing.assert_close(model(images)[1:2], model(images[1:2]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_same_seed_builds_the_same_weights(architecture):
    weights = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        model = build(architecture, 5, SMALL.get(architecture, {}))
        weights.append(torch.cat([parameter.flatten() for parameter in model.parameters()]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_padding_shows_only_at_its_edge(architecture):
    """A width that needs padding gives the same logits, far from the padded edge, as the padded image itself."""
    model = build(architecture, 2, SMALL.get(architecture, {})).eval()
    image = torch.rand(1, 3, 64, 60)
    padded = torch.nn.functional.pad(image, (0, -60 % model.multiple, 0, 0), mode="replicate")
    with torch.no_grad():
        torch.testing.assert_close(model(image), model(padded)[..., :60])


def test_pspnet_has_an_auxiliary_head_of_weight_0_4():
    model = build("pspnet", 5, {"width": 8}).train()
    assert len(model.heads(torch.rand(2, 3, 40, 40))) == 2
    assert model.auxiliary_weight == 0.4


@pytest.mark.parametrize(("output_stride", "features_hw"), [(8, (8, 8)), (16, (4, 4)), (32, (2, 2))])
def test_pspnet_output_stride(output_stride, features_hw):
    model = build("pspnet", 5, {"width": 8, "output_stride": output_stride}).eval()
    _, last = model.backbone(torch.rand(1, 3, 64, 64))
    assert last.shape[-2:] == features_hw


def test_pspnet50_and_unet64_have_about_the_papers_sizes():
    pspnet = build("pspnet", 21, {"backbone": "resnet50"})
    unet = build("unet", 2, {"width": 64})
    assert 40e6 < sum(weight.numel() for weight in pspnet.parameters()) < 60e6
    assert 30e6 < sum(weight.numel() for weight in unet.parameters()) < 32e6


@pytest.mark.parametrize(
    ("architecture", "options", "message"),
    [
        ("resnet", {}, "train.architecture is 'resnet', known are: pspnet, unet"),
        ("unet", {"widht": 4}, "did you mean `width`?"),
        ("unet", {"backbone": "x"}, "unknown option `backbone`"),
        ("unet", {"depth": 0}, "`depth`"),
        ("pspnet", {"output_stride": 4}, "`output_stride`"),
        ("pspnet", {"backbone": "vgg"}, "`backbone`"),
    ],
)
def test_wrong_architectures_and_options_are_named(architecture, options, message):
    with pytest.raises(ParamsError) as caught:
        build(architecture, 5, options)
    assert message in str(caught.value)
