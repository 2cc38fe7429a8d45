"""Self-configuration: rules that follow the data and the device, the same each time, said and written down."""

from dataclasses import replace

import pytest
import torch

from connectors.storage import read_json
from pipeline import auto
from pipeline.auto import AUTO, Fingerprint, bytes_per_pixel, decide
from pipeline.models import build
from pipeline.progress import Silent
from pipeline.train import train
from tests.unit.drawn_project import draw_project, drawn_params

GIB = 2**30
CAMVID = Fingerprint(
    samples=367,
    median_hw=(360, 480),
    rarest=0.4,
    device="cpu",
    memory=8 * GIB,
    parameters=1_800_000,
    bytes_per_pixel=400.0,
    is_normalised=True,
    is_pretrained=False,
)
GPU = replace(CAMVID, device="cuda", memory=80 * GIB)


def values(found: Fingerprint) -> dict[str, object]:
    return {name: value for name, (value, _) in decide(found).items()}


def test_camvid_on_a_cpu_is_what_was_measured_to_do_well():
    assert values(CAMVID) == {
        "size_hw": (360, 480),
        "crop_hw": (192, 256),
        "batch_size": 4,
        "accumulate": 1,
        "epochs": 41,
        "validate_every": 2,
        "learning_rate": 0.002,
    }


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (GPU, {"crop_hw": (360, 480), "batch_size": 16, "accumulate": 1, "learning_rate": 0.004}),
        (replace(GPU, memory=GIB), {"batch_size": 16, "accumulate": 4}),
        (replace(GPU, memory=GIB // 4), {"batch_size": 16, "accumulate": 16}),
        (replace(GPU, bytes_per_pixel=500_000.0), {"crop_hw": (256, 352), "accumulate": 16}),
        (replace(CAMVID, median_hw=(1080, 1920)), {"size_hw": (320, 544), "crop_hw": (160, 288)}),
        (replace(CAMVID, median_hw=(20, 90)), {"size_hw": (32, 90), "crop_hw": (32, 90)}),
        (replace(CAMVID, rarest=0.01), {"epochs": 82}),
        (replace(CAMVID, samples=3), {"batch_size": 2, "epochs": 1000}),
        (replace(CAMVID, samples=10**6), {"epochs": 10}),
        (replace(CAMVID, is_normalised=False), {"learning_rate": 0.0001}),
        (replace(CAMVID, is_pretrained=True), {"learning_rate": 0.0005}),
        (replace(CAMVID, parameters=49_000_000), {"learning_rate": 0.0005}),
    ],
)
def test_rules_follow_the_data_and_the_device(found: Fingerprint, expected: dict[str, object]):
    assert expected.items() <= values(found).items()


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_what_a_step_keeps_is_measured_by_pixel(precision):
    """A 1×1 convolution keeps its input; cross-entropy keeps log-probabilities and the target; 4 bytes each and 8."""

    class Flat(torch.nn.Conv2d):
        def heads(self, images):
            return (self(images),)

    kept = {torch.float32: 3 * 4 + 5 * 4 + 8, torch.bfloat16: 3 * 2 + 5 * 4 + 8}[precision]
    assert bytes_per_pixel(Flat(3, 5, 1), 5, precision) == pytest.approx(kept, abs=1)


def test_weights_in_half_precision_are_no_cost_by_pixel():
    """Half of fcn's parameters lie in fc6: counted by pixel, they would be most of the answer."""
    model = build("fcn32s", 2, {"width": 4, "norm": "batch"})
    whole, half = (bytes_per_pixel(model, 2, precision) for precision in (torch.float32, torch.bfloat16))
    assert half < whole


def test_training_takes_what_is_decided_says_it_and_writes_it_down(tmp_path, monkeypatch):
    monkeypatch.setitem(auto.AIMS, "cpu", replace(auto.AIMS["cpu"], crops=12))
    said = []

    class Heard(Silent):
        def say(self, text):
            said.append(text)

    versions = []
    for name in ("one", "two"):
        draw_project(tmp_path / name, {"train": 5, "val": 1})
        train(drawn_params(auto=True, learning_rate=0.7), tmp_path / name, Heard())
        versions.append(read_json(tmp_path / name / "models/challenger/model.json"))
    assert versions[0] == versions[1], "the same data and device give the same model"
    assert versions[0]["size_hw"] == [40, 60]
    content = read_json(tmp_path / "one" / AUTO)
    assert content["decided"]["batch_size"] == 4
    assert set(content["decided"]) == set(content["because"])
    assert content["found"]["median_hw"] == [40, 60]
    assert "train.learning_rate: 0.002 (0.002 for AdamW)" in said
    assert sum(line.startswith("epoch ") for line in said) == 2 * content["decided"]["epochs"] == 20


def test_without_it_nothing_is_decided(tmp_path):
    draw_project(tmp_path, {"train": 2, "val": 1})
    train(drawn_params(epochs=1), tmp_path, Silent())
    assert not (tmp_path / AUTO).exists()
