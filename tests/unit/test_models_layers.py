"""What single architectures promise beyond the contract: interpolation, unpooling, dilation, padding."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pipeline.models import build
from pipeline.models.efficientnet import SameConv2d, published_name, rounded
from pipeline.models.fcn import bilinear
from pipeline.models.resnet import Projection
from pipeline.models.segnet import unpool


@pytest.mark.parametrize("factor", [2, 8, 16, 32])
def test_transposed_convolutions_start_as_bilinear_interpolation(factor):
    scores = torch.randn(1, 3, 6, 7)
    with torch.no_grad():
        enlarged = bilinear(3, factor)(scores)
    expected = F.interpolate(scores, scale_factor=factor, mode="bilinear", align_corners=False)
    assert enlarged.shape == expected.shape
    inside = (..., slice(factor // 2, -factor // 2), slice(factor // 2, -factor // 2))  # beyond, zeros are mixed in
    torch.testing.assert_close(enlarged[inside], expected[inside])
    assert bilinear(3, factor).weight.requires_grad


def test_fcn_adds_the_scores_of_the_pools_at_their_places():
    """Scores of pool4 alone, made 1 for one class, come out as 1 there: enlarged by 2 and 8, they sum to themselves."""
    model = build("fcn8s", 3, {"width": 2}).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.startswith("score"):
                weight.zero_()
        model.score_skips["pool4"].bias[1] = 1.0
        logits = model(torch.rand(1, 3, 128, 128))[..., 32:96, 32:96]
    torch.testing.assert_close(logits[:, 1], torch.ones(1, 64, 64))
    assert not logits[:, [0, 2]].any()


def test_unpooling_puts_maxima_back_where_they_were_found():
    plane = torch.tensor([[1.0, 2.0, 0.0, 0.0], [4.0, 3.0, 0.0, 9.0]])[None, None]
    pooled, indices = F.max_pool2d(plane, 2, return_indices=True)
    expected = torch.tensor([[0.0, 0.0, 0.0, 0.0], [4.0, 0.0, 0.0, 9.0]])[None, None]
    assert torch.equal(unpool(pooled, indices), expected)


def test_segnet_unpools_with_the_encoders_indices():
    """Moving an input by one pixel inside its pooling window moves the output of a decoder that only passes it on."""
    model = build("segnet_basic", 1, {"width": 1}).eval()
    centre = torch.zeros(1, 1, 7, 7)
    centre[..., 3, 3] = 1.0
    with torch.no_grad():
        for block in (*model.encoder, *model.decoder):
            block[0].weight.copy_(centre.expand_as(block[0].weight))
        model.classify.weight.fill_(1.0)
        for row, column in ((0, 0), (5, 9), (31, 30)):
            image = torch.zeros(1, 3, 32, 32)
            image[..., row, column] = 1.0
            peak = int(model(image).argmax())
            assert divmod(peak, 32) == (row, column)


@pytest.mark.parametrize(("output_stride", "features_hw"), [(8, (8, 8)), (16, (4, 4)), (32, (2, 2))])
@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
def test_pspnet_output_stride(backbone, output_stride, features_hw):
    model = build("pspnet", 5, {"width": 8, "backbone": backbone, "output_stride": output_stride}).eval()
    features = model.backbone(torch.rand(1, 3, 64, 64))
    assert features[-1].shape[-2:] == features_hw
    assert [64 // each.shape[-1] for each in features] == model.backbone.strides
    assert [each.shape[1] for each in features] == model.backbone.channels


@pytest.mark.parametrize(
    ("output_stride", "decoder_stride", "strides"),
    [(8, 4, [4]), (8, 2, [4, 2]), (16, 4, [8, 4]), (32, 2, [16, 8, 4, 2])],
)
@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
def test_pspnets_decoder_passes_every_finer_size_once(backbone, output_stride, decoder_stride, strides):
    options = {"width": 8, "backbone": backbone, "output_stride": output_stride, "decoder_stride": decoder_stride}
    model = build("pspnet", 5, options).eval()
    assert [model.backbone.strides[at] for at in model.skips] == strides
    features = model.backbone(torch.rand(1, 3, 64, 64))
    logits = model.main(model.pyramid(features[-1]), [features[at] for at in model.skips])
    assert logits.shape[-2:] == (64 // decoder_stride, 64 // decoder_stride)


def test_pspnet_has_an_auxiliary_head_of_weight_0_4():
    model = build("pspnet", 5, {"width": 8}).train()
    assert len(model.heads(torch.rand(2, 3, 40, 40))) == 2
    assert model.auxiliary_weight == 0.4


def test_a_projection_without_window_is_a_strided_convolution():
    projection = Projection(3, 4, stride=2, window=1).eval()
    features = torch.randn(1, 3, 10, 8)
    strided = projection[1](F.conv2d(features, projection[0].weight, stride=2))
    torch.testing.assert_close(projection(features), strided)


@pytest.mark.parametrize(
    ("kernel", "stride", "edges"), [(3, 2, (0, 1)), (5, 2, (1, 2)), (3, 1, (1, 1)), (5, 1, (2, 2))]
)
def test_convolutions_pad_as_tensorflow_does(kernel, stride, edges):
    layer, features = SameConv2d(2, 3, kernel, stride), torch.randn(1, 2, 16, 12)
    expected = F.conv2d(F.pad(features, edges * 2), layer.weight, stride=stride)
    torch.testing.assert_close(layer(features), expected)
    assert expected.shape[-2:] == (16 // stride, 12 // stride)


def test_efficientnets_widths_are_those_of_its_scaling_rule():
    assert [rounded(channels) for channels in (4, 16, 20, 24, 11.9, 44)] == [8, 16, 24, 24, 16, 48]


def test_published_names_of_efficientnet():
    assert published_name("conv_stem.weight") == "_conv_stem.weight"
    assert published_name("blocks.3.project_conv.weight") == "_blocks.3._project_conv.weight"
    assert published_name("blocks.15.bn2.running_mean") == "_blocks.15._bn2.running_mean"


@pytest.mark.parametrize("norm", ["batch", "group", "instance", "none"])
def test_unet_has_the_norm_that_is_asked_for(norm):
    kinds = {type(module) for module in build("unet", 2, {"width": 16, "depth": 1, "norm": norm}).modules()}
    expected = {"batch": nn.BatchNorm2d, "group": nn.GroupNorm, "instance": nn.InstanceNorm2d, "none": nn.Identity}
    assert kinds & set(expected.values()) == {expected[norm]}
