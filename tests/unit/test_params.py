from pathlib import Path
from typing import Any

import pytest

from schemas.errors import ParamsError
from schemas.params import Params, load_params, parse_params

MINIMAL: dict[str, Any] = {"source": {"kind": "label_studio", "project": 1}, "classes": [{"name": "road"}]}


def test_source_and_classes_are_enough():
    params = parse_params(MINIMAL)
    assert params.class_map.index("road") == 0
    assert params.split.val > 0


def test_the_shipped_params_are_valid():
    params = load_params(Path(__file__).parents[2] / "params.yaml")
    assert len(params.classes) >= 8


def test_what_configure_writes_is_read_back_the_same():
    params = parse_params(MINIMAL)
    assert Params.model_validate(params.model_dump(mode="json")) == params


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"trian": {}}, "unknown key `trian` (did you mean `train`?)"),
        ({"train": {"epoch": 3}}, "unknown key `train.epoch` (did you mean `epochs`?)"),
        ({"classes": [{"name": "a", "colour": "#000000"}]}, "unknown key `classes.0.colour` (did you mean `color`?)"),
        ({"source": {"kind": "label_studio", "project": 1, "urll": "x"}}, "unknown key `source.urll`"),
        ({"source": {"kind": "label_studio"}}, "`source.project` is missing"),
        ({"source": {"kind": "cvat"}}, "'label_studio_export'"),
        ({"classes": [{"name": "void"}]}, "`void`"),
        ({"classes": [{"name": "a"}, {"name": "a"}]}, "listed twice: a"),
        ({"classes": []}, "at least 1 item"),
        ({"rasterise": {"unlabelled": "grass"}}, "'grass' is neither `void` nor a class (road)"),
        ({"split": {"val": 0.6, "test": 0.6}}, "nothing is left to train on"),
        ({"train": {"size_hw": [8, 8]}}, "at least 32x32"),
        ({"train": {"loss": {"dice": -1}}}, "the factor of `dice` is -1"),
        ({"train": {"loss": {}}}, "`train.loss`"),
        ({"train": {"ema": 1.0}}, "`train.ema`"),
        ({"train": {"ohem": 0}}, "`train.ohem`"),
        ({"predict": {"tile_hw": [8, 8]}}, "at least 32x32"),
        ({"predict": {"overlap": 1.0}}, "`predict.overlap`"),
    ],
)
def test_what_is_wrong_is_named(changed: dict[str, Any], said: str):
    with pytest.raises(ParamsError) as caught:
        parse_params(MINIMAL | changed)
    assert said in str(caught.value)


@pytest.mark.parametrize(("text", "said"), [("a: [", "not valid YAML"), ("- a", "holds list"), ("", "holds NoneType")])
def test_a_malformed_file_is_one_line(tmp_path: Path, text: str, said: str):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(ParamsError) as caught:
        load_params(path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_says_how_to_get_one(tmp_path: Path):
    with pytest.raises(ParamsError) as caught:
        load_params(tmp_path / "params.yaml")
    assert "maskloop init" in caught.value.remedy
