"""The moving average of the weights."""

import pytest
import torch
from torch import nn

from pipeline.ema import Ema


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))


def test_it_is_the_recursion_written_out():
    net = model()
    ema = Ema(net, decay=0.9)
    expected = net.state_dict()["0.weight"].clone()
    for step in range(200):
        with torch.no_grad():
            net[0].weight.add_(torch.randn(2, 1, 1, 1))
            net[1].num_batches_tracked.add_(1)
        ema.update(net, step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * net[0].weight.detach()
    torch.testing.assert_close(ema.weights["0.weight"], expected)
    assert ema.weights["1.num_batches_tracked"] == 200


def test_weights_that_stand_still_are_their_average():
    net = model()
    ema = Ema(net, 0.99)
    for step in range(5):
        ema.update(net, step)
    for name, tensor in net.state_dict().items():
        torch.testing.assert_close(ema.weights[name], tensor)


def test_applied_changes_the_model_and_gives_it_back_after_an_error_too():
    net = model()
    ema = Ema(net, 0.5)
    with torch.no_grad():
        net[0].weight.add_(1)
    own = net[0].weight.detach().clone()
    with pytest.raises(KeyboardInterrupt), ema.applied(net):
        assert torch.equal(net[0].weight, ema.weights["0.weight"])
        raise KeyboardInterrupt
    assert torch.equal(net[0].weight, own)


def test_it_goes_on_where_it_stopped():
    net = model()
    whole, first = Ema(net, 0.9), Ema(net, 0.9)
    for step in range(6):
        with torch.no_grad():
            net[0].weight.mul_(0.9)
        whole.update(net, step)
        if step == 2:
            kept = {name: tensor.clone() for name, tensor in whole.weights.items()}
            first.load(kept)
        if step > 2:
            first.update(net, step)
    assert torch.equal(first.weights["0.weight"], whole.weights["0.weight"])
