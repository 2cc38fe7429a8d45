"""Boundary IoU, boundary F1 and calibration error against plain loops over pixels; void is never counted."""

import json
import math

import numpy as np
import pytest
import torch
from scipy.spatial import KDTree

from pipeline.boundary import BoundaryF1, BoundaryIou
from pipeline.calibration import CalibrationError
from pipeline.meter import Meter
from pipeline.metrics import confusion_matrix, scores

CPU = torch.device("cpu")


def blobs(seed, size_hw, classes, void=True):
    """An actual mask of blocks with void in it, a prediction that is partly wrong and shifted, a confidence."""
    random = np.random.default_rng(seed)
    height, width = size_hw
    coarse = random.integers(0, classes, (-(-height // 7), -(-width // 7))).astype(np.uint8)
    actual = np.kron(coarse, np.ones((7, 7), np.uint8))[:height, :width]
    predicted = np.roll(actual, (1, -2), (0, 1)).copy()
    predicted[random.random(size_hw) < 0.03] = random.integers(0, classes)
    actual = actual.copy()
    if void:
        actual[random.random(size_hw) < 0.02] = 255
        actual[: height // 4, : width // 3] = 255
    return actual, predicted, random.random(size_hw).astype(np.float32)


def tensors(*arrays):
    return [torch.from_numpy(np.ascontiguousarray(array)) for array in arrays]


def reference_band(labels, c, d):
    """Pixels of class c whose square of 2d + 1 holds another class or leaves the image (void is as the class)."""
    band = set()
    for y, x in zip(*np.nonzero(labels == c), strict=True):
        square = labels[max(0, y - d) : y + d + 1, max(0, x - d) : x + d + 1]
        if square.shape != (2 * d + 1, 2 * d + 1) or ((square != c) & (square != 255)).any():
            band.add((y, x))
    return band


def reference_boundary_iou(images, classes):
    both, either = np.zeros(classes), np.zeros(classes)
    for actual, predicted, _ in images:
        predicted = np.where(actual == 255, 255, predicted)
        d = max(1, round(0.02 * math.hypot(*actual.shape)))
        for c in range(classes):
            bands = reference_band(actual, c, d), reference_band(predicted, c, d)
            both[c] += len(bands[0] & bands[1])
            either[c] += len(bands[0] | bands[1])
    return [b / e if e else math.nan for b, e in zip(both, either, strict=True)]


def reference_contour(labels, c):
    height, width = labels.shape
    found = []
    for y, x in zip(*np.nonzero(labels == c), strict=True):
        for ny, nx in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            if 0 <= ny < height and 0 <= nx < width and labels[ny, nx] not in (c, 255):
                found.append((y, x))
                break
    return np.array(found).reshape(-1, 2)


def reference_f1(actual, predicted, c):
    predicted = np.where(actual == 255, 255, predicted)
    radius = 0.0075 * math.hypot(*actual.shape)
    a, p = reference_contour(actual, c), reference_contour(predicted, c)
    if not len(a) and not len(p):
        return math.nan
    if not len(a) or not len(p):
        return 0.0
    recall, precision = ((KDTree(b).query(c)[0] <= radius).mean() for b, c in ((p, a), (a, p)))
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@pytest.mark.parametrize(("classes", "size_hw"), [(2, (40, 61)), (3, (150, 90)), (12, (64, 64)), (200, (50, 45))])
def test_boundary_iou_is_the_papers(classes, size_hw):
    images = [blobs(seed, size_hw, classes, void=seed > 0) for seed in range(3)]
    meter = BoundaryIou(classes, CPU)
    for actual, predicted, _ in images:
        meter.update(*tensors(actual, predicted))
    np.testing.assert_array_equal(meter.per_class(), reference_boundary_iou(images, classes))


@pytest.mark.parametrize(
    ("classes", "size_hw"), [(2, (40, 61)), (3, (300, 260)), (12, (130, 140)), (40, (130, 140)), (200, (50, 145))]
)
def test_boundary_f1_is_the_papers(classes, size_hw):
    images = [blobs(seed, size_hw, classes, void=seed > 0) for seed in range(2)]
    meter = BoundaryF1(classes, CPU)
    for actual, predicted, _ in images:
        meter.update(*tensors(actual, predicted))
    expected = np.array([[reference_f1(a, p, c) for c in range(classes)] for a, p, _ in images])
    present = ~np.isnan(expected)
    sums, counts = np.where(present, expected, 0).sum(0), present.sum(0)
    np.testing.assert_allclose(
        meter.per_class(), [s / n if n else math.nan for s, n in zip(sums, counts, strict=True)], rtol=1e-12
    )
    assert meter.mean() == pytest.approx(np.mean([np.nanmean(row) for row in expected]), rel=1e-12)


def test_calibration_error_is_the_papers():
    images = [blobs(seed, (30, 40), 3) for seed in range(3)]
    images[0][2][:5] = [[0.0], [1.0], [1 / 15], [0.5], [0.2]]
    meter = CalibrationError(CPU)
    bins = [[] for _ in range(15)]
    for actual, predicted, confidence in images:
        meter.update(*tensors(actual, predicted, confidence))
        for a, p, c in zip(actual.ravel(), predicted.ravel(), confidence.ravel(), strict=True):
            if a != 255:
                bins[min(14, max(0, int(np.ceil(c * np.float32(15))) - 1))].append((float(a == p), float(c)))
    total = sum(map(len, bins))
    expected = sum(abs(np.mean([r for r, _ in b]) - np.mean([c for _, c in b])) * len(b) / total for b in bins if b)
    assert meter.value() == pytest.approx(expected, rel=1e-9)


def test_sure_and_right_is_calibrated_and_sure_and_wrong_is_not():
    for predicted, error in ((0, 0.0), (1, 1.0)):
        meter = CalibrationError(CPU)
        meter.update(*tensors(np.zeros((4, 4), np.uint8), np.full((4, 4), predicted, np.uint8)), torch.ones(4, 4))
        assert meter.value() == error


def test_what_is_predicted_on_void_changes_nothing():
    actual, predicted, confidence = blobs(1, (60, 80), 5)
    void = actual == 255
    reports = []
    for other in (predicted, np.where(void, (predicted + 1) % 5, predicted)):
        meter = Meter(5, CPU)
        meter.update(*tensors(actual, other.astype(np.uint8), np.where(void & (other != predicted), 0.99, confidence)))
        reports.append(meter.as_json(list("abcde")))
    assert reports[0] == reports[1]


def test_a_perfect_prediction_and_an_absent_class():
    actual, _, confidence = blobs(0, (60, 80), 4, void=False)
    meter = Meter(5, CPU)
    meter.update(*tensors(actual, actual, confidence))
    report = meter.as_json(list("abcde"))
    assert report["mean_iu"] == report["boundary_iou"] == report["boundary_f1"] == 1
    for key in ("per_class", "per_class_boundary_iou", "per_class_boundary_f1"):
        assert report[key] == {"a": 1, "b": 1, "c": 1, "d": 1, "e": None}


def test_nothing_labelled_is_null():
    meter = Meter(2, CPU)
    meter.update(*tensors(np.full((8, 8), 255, np.uint8), np.zeros((8, 8), np.uint8), np.ones((8, 8), np.float32)))
    report = json.loads(json.dumps(meter.as_json(["a", "b"]), allow_nan=False))
    assert all(value is None for value in report.values() if not isinstance(value, dict))


def test_the_confusion_matrix_is_that_of_all_images():
    images = [blobs(seed, (30, 40), 3) for seed in range(3)]
    meter = Meter(3, CPU)
    for image in images:
        meter.update(*tensors(*image))
    expected = sum(confusion_matrix(actual, predicted, 3) for actual, predicted, _ in images)
    np.testing.assert_array_equal(meter.confusion(), expected)
    assert meter.as_json(["a", "b", "c"])["mean_iu"] == scores(expected).mean_iu
