"""Every loss against a plain reference, and blind to void."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pipeline.dataset import Sample
from pipeline.losses import LOSSES, Criterion
from pipeline.losses.class_weights import class_weights
from schemas.errors import ParamsError

CLASSES = 4
TERMS = [{name: 1.0} for name in LOSSES] + [{"cross_entropy": 1.0, "lovasz": 0.5, "dice": 0.25, "focal": 2.0}]
WEIGHTS = torch.tensor([0.5, 2.0, 1.0, 0.0])  # the last class is absent


def batch(seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, CLASSES, 6, 7, generator=generator) * 3
    masks = torch.randint(0, CLASSES - 1, (2, 6, 7), generator=generator, dtype=torch.uint8)
    masks[0, :2] = 255
    masks[1, 3, 4] = 255
    return logits, masks


def labelled_rows(logits, masks):
    """Probabilities (P, C) and classes (P,) of the labelled pixels, float64."""
    keep = masks != 255
    return logits.double().softmax(1).permute(0, 2, 3, 1)[keep], masks[keep].long()


def reference_cross_entropy(p, classes, gamma=0):
    own = p[torch.arange(len(p)), classes]
    weights = WEIGHTS.double()[classes]
    return (weights * (1 - own) ** gamma * -own.log()).sum() / weights.sum()


def reference_dice(p, classes):
    losses = []
    for c in classes.unique():
        g = (classes == c).double()
        losses.append(1 - 2 * (p[:, c] * g).sum() / (p[:, c].sum() + g.sum()))
    return sum(losses) / len(losses)


def reference_lovasz(p, classes):
    """The paper's definition: for errors m sorted downwards, sum of m_i (J(first i) − J(first i − 1))."""
    losses = []
    for c in classes.unique():
        g = (classes == c).numpy()
        errors = np.abs(g - p[:, c].numpy())
        order = np.argsort(-errors, kind="stable")

        def jaccard_loss(wrong, g=g):
            predicted = g ^ wrong
            return 1 - (g & predicted).sum() / (g | predicted).sum()

        total, wrong = 0.0, np.zeros(len(g), bool)
        for index in order:
            before = jaccard_loss(wrong)
            wrong[index] = True
            total += errors[index] * (jaccard_loss(wrong) - before)
        losses.append(total)
    return torch.tensor(sum(losses) / len(losses))


REFERENCES = {
    "cross_entropy": reference_cross_entropy,
    "focal": lambda p, classes: reference_cross_entropy(p, classes, gamma=2),
    "dice": reference_dice,
    "lovasz": reference_lovasz,
}


@pytest.mark.parametrize("name", LOSSES)
def test_each_loss_is_its_papers(name):
    logits, masks = batch()
    expected = REFERENCES[name](*labelled_rows(logits, masks))
    assert float(Criterion({name: 1.0}, WEIGHTS)([logits], masks)) == pytest.approx(float(expected), rel=1e-5)


def test_cross_entropy_is_torchs():
    logits, masks = batch()
    expected = F.cross_entropy(logits, masks.long(), WEIGHTS, ignore_index=255)
    torch.testing.assert_close(Criterion({"cross_entropy": 1.0}, WEIGHTS)([logits], masks), expected)


def test_terms_and_auxiliary_heads_are_summed():
    logits, masks = batch()
    other, _ = batch(1)
    each = {name: Criterion({name: 1.0}, WEIGHTS) for name in LOSSES}
    both = Criterion({"cross_entropy": 1.0, "lovasz": 0.5}, WEIGHTS, auxiliary_weight=0.4)
    sums = [each["cross_entropy"]([head], masks) + 0.5 * each["lovasz"]([head], masks) for head in (logits, other)]
    torch.testing.assert_close(both([logits, other], masks), sums[0] + 0.4 * sums[1])


@pytest.mark.parametrize("ohem", [None, 0.3])
@pytest.mark.parametrize("terms", TERMS)
def test_void_changes_neither_value_nor_gradient(terms, ohem):
    logits, masks = batch()
    criterion = Criterion(terms, WEIGHTS, ohem)
    void = (masks == 255)[:, None].expand_as(logits)
    results = []
    for scale in (1.0, -50.0):
        leaf = torch.where(void, logits * scale, logits).requires_grad_()
        loss = criterion([leaf], masks)
        loss.backward()
        results.append((loss.detach(), leaf.grad))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])
    assert (results[0][1][void] == 0).all()
    assert (results[0][1][~void] != 0).any()


@pytest.mark.parametrize("terms", TERMS)
def test_void_pixels_are_as_good_as_cut_away(terms):
    logits, masks = batch()
    masks[:] = torch.where(masks == 255, 0, masks)
    masks[:, 4:] = 255
    criterion = Criterion(terms, WEIGHTS)
    torch.testing.assert_close(criterion([logits], masks), criterion([logits[:, :, :4]], masks[:, :4]))


@pytest.mark.parametrize("ohem", [None, 0.3])
@pytest.mark.parametrize("terms", TERMS)
def test_nothing_labelled_is_zero_with_gradient_zero(terms, ohem):
    logits, masks = batch()
    leaf = logits.clone().requires_grad_()
    loss = Criterion(terms, WEIGHTS, ohem)([leaf], torch.full_like(masks, 255))
    loss.backward()
    assert loss == 0
    assert (leaf.grad == 0).all()


@pytest.mark.parametrize("terms", TERMS)
@pytest.mark.parametrize("scale", [1.0, 1e3, 1e30])
def test_losses_are_finite_in_bfloat16(terms, scale):
    logits, masks = batch()
    leaf = (logits * scale).bfloat16().requires_grad_()
    loss = Criterion(terms, WEIGHTS)([leaf], masks)
    loss.backward()
    assert loss.isfinite()
    assert leaf.grad.isfinite().all()


def test_a_perfect_answer_costs_nothing():
    _, masks = batch()
    labels = masks.long().clamp_max(CLASSES - 1)
    logits = 100 * F.one_hot(labels, CLASSES).permute(0, 3, 1, 2).float()
    for name in LOSSES:
        assert float(Criterion({name: 1.0}, WEIGHTS)([logits], masks)) == pytest.approx(0, abs=1e-6)


def test_ohem_keeps_the_hardest_share():
    logits, masks = batch()
    p, classes = labelled_rows(logits, masks)
    weights = WEIGHTS.double()[classes]
    losses = weights * -p[torch.arange(len(p)), classes].log()
    kept = losses.sort(descending=True).indices[: math.ceil(0.3 * len(losses))]
    expected = losses[kept].sum() / weights[kept].sum()
    found = Criterion({"cross_entropy": 1.0}, WEIGHTS, ohem=0.3)([logits], masks)
    assert float(found) == pytest.approx(float(expected), rel=1e-5)
    torch.testing.assert_close(
        Criterion({"cross_entropy": 1.0}, WEIGHTS, ohem=1.0)([logits], masks),
        Criterion({"cross_entropy": 1.0}, WEIGHTS)([logits], masks),
    )


def test_an_unknown_loss_is_named():
    with pytest.raises(ParamsError, match=r"unknown loss `lovas` \(did you mean `lovasz`\?\)"):
        Criterion({"lovas": 1.0}, WEIGHTS)


def sample(class_pixels, area):
    return Sample(0, None, None, 1, area, tuple(class_pixels), "")


def test_median_frequency_counts_only_images_that_show_the_class():
    samples = [sample([60, 20, 0, 0], 100), sample([50, 0, 10, 0], 100)]
    # freq: 110/200, 20/100, 10/100; the median is 0.2
    weights = class_weights(samples, "median_frequency").numpy()
    np.testing.assert_allclose(weights, [0.2 / 0.55, 1, 2, 0], rtol=1e-6)
    np.testing.assert_allclose(class_weights(samples, "sqrt_median_frequency"), np.sqrt(weights), rtol=1e-6)
    np.testing.assert_array_equal(class_weights(samples, "none"), [1, 1, 1, 0])


def test_effective_number_is_the_papers_formula():
    samples = [sample([60, 20, 0, 0], 100), sample([50, 0, 10, 0], 100)]
    beta = 19 / 20  # the median class has 20 pixels
    plain = np.array([(1 - beta) / (1 - beta**n) for n in (110, 20, 10)])
    expected = [*(plain / plain.mean()), 0]
    np.testing.assert_allclose(class_weights(samples, "effective_number"), expected, rtol=1e-6)


@pytest.mark.parametrize("kind", ["none", "median_frequency", "sqrt_median_frequency", "effective_number"])
def test_no_labelled_pixel_gives_weights_of_zero(kind):
    np.testing.assert_array_equal(class_weights([sample([0, 0], 9)], kind), [0, 0])
