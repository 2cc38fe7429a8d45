"""The confusion matrix and FCN's measures against plain loops."""

import json
import math

import numpy as np
import pytest

from pipeline.metrics import confusion_matrix, scores


def reference_confusion(actual, predicted, classes):
    counts = np.zeros((classes, classes), np.int64)
    for a, p in zip(actual.ravel().tolist(), predicted.ravel().tolist(), strict=True):
        if a != 255:
            counts[a, p] += 1
    return counts


def reference_scores(n):
    """The formulas of the FCN paper, section 5, over the classes that occur."""
    t = n.sum(axis=1)
    classes = range(len(n))
    pixel_accuracy = sum(n[i, i] for i in classes) / t.sum()
    accuracies = [n[i, i] / t[i] for i in classes if t[i]]
    unions = [t[i] + sum(n[j, i] for j in classes) - n[i, i] for i in classes]
    ius = [n[i, i] / unions[i] for i in classes if unions[i]]
    weighted = sum(t[i] * n[i, i] / unions[i] for i in classes if unions[i]) / t.sum()
    return pixel_accuracy, sum(accuracies) / len(accuracies), sum(ius) / len(ius), weighted


@pytest.mark.parametrize("classes", [1, 2, 11, 15, 16, 150, 255])
def test_confusion_matrix_is_exact_for_narrow_and_wide_keys(classes):
    random = np.random.default_rng(classes)
    actual = random.integers(0, classes, (37, 41)).astype(np.uint8)
    actual[random.random(actual.shape) < 0.2] = 255
    predicted = random.integers(0, classes, actual.shape).astype(np.uint8)
    counted = confusion_matrix(actual, predicted, classes)
    assert counted.dtype == np.int64
    np.testing.assert_array_equal(counted, reference_confusion(actual, predicted, classes))


def test_scores_follow_the_papers_formulas():
    random = np.random.default_rng(0)
    for _ in range(20):
        confusion = random.integers(0, 50, (6, 6))
        absent = random.integers(0, 6)
        confusion[absent] = 0
        if random.random() < 0.5:
            confusion[:, absent] = 0
        ours = scores(confusion)
        measured = ours.pixel_accuracy, ours.mean_accuracy, ours.mean_iu, ours.frequency_weighted_iu
        assert measured == pytest.approx(reference_scores(confusion), rel=1e-12)


def test_worked_example():
    """4 labelled pixels: class 0 right twice and once taken for 1, class 1 right once; class 2 is absent."""
    ours = scores(confusion_matrix(np.array([0, 0, 0, 1, 255], np.uint8), np.array([0, 0, 1, 1, 2], np.uint8), 3))
    assert ours.pixel_accuracy == 3 / 4
    assert ours.mean_accuracy == pytest.approx((2 / 3 + 1) / 2)
    assert ours.mean_iu == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert ours.frequency_weighted_iu == pytest.approx((3 * 2 / 3 + 1 * 1 / 2) / 4)
    assert math.isnan(ours.per_class[2])


def test_an_absent_class_that_is_predicted_counts_as_zero():
    ours = scores(confusion_matrix(np.array([0, 0], np.uint8), np.array([0, 1], np.uint8), 2))
    assert ours.per_class == (0.5, 0.0)
    assert ours.mean_accuracy == 0.5


def test_nothing_labelled_gives_null_and_valid_json():
    ours = scores(confusion_matrix(np.full(9, 255, np.uint8), np.zeros(9, np.uint8), 2))
    assert json.loads(json.dumps(ours.as_json(["road", "car"]), allow_nan=False)) == {
        "pixel_accuracy": None,
        "mean_accuracy": None,
        "mean_iu": None,
        "frequency_weighted_iu": None,
        "per_class": {"road": None, "car": None},
    }
