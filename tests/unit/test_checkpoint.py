"""Model folders: what is saved comes back, damage and foreign classes are refused, kills are survived."""

import json

import pytest
import torch

from pipeline import checkpoint
from pipeline.models import build
from schemas.errors import ClassMapError, DataError
from schemas.labels import ClassEntry, ClassMap
from tests.model_cards import model_card

CLASS_MAP = ClassMap([ClassEntry("road", "#000000"), ClassEntry("car", "#ffffff")])


def card():
    return model_card(CLASS_MAP, epoch=3, val_mean_iu=0.5)


def model(seed):
    torch.manual_seed(seed)
    return build("unet", 2, {"width": 4, "depth": 2})


def test_what_is_saved_comes_back(tmp_path):
    saved = model(0)
    written = checkpoint.save(tmp_path, saved.state_dict(), card())
    loaded, read = checkpoint.load(tmp_path, CLASS_MAP)
    assert read == written
    assert not loaded.training
    assert written.model_version.startswith("unet-")
    assert {path.name for path in tmp_path.iterdir()} == {f"{written.model_version}.safetensors", "model.json"}
    for name, weight in saved.state_dict().items():
        assert torch.equal(weight, loaded.state_dict()[name])


def test_the_same_weights_have_the_same_version_and_bytes(tmp_path):
    versions = {
        checkpoint.save(tmp_path / str(n), model(seed).state_dict(), card()).model_version
        for n, seed in enumerate((0, 0, 1))
    }
    assert len(versions) == 2


def test_a_kill_before_the_card_is_written_leaves_the_old_model(tmp_path, monkeypatch):
    old = checkpoint.save(tmp_path, model(0).state_dict(), card())

    def killed(*_, **__):
        raise KeyboardInterrupt

    for step in ("write_json", "remove_others"):
        with monkeypatch.context() as patch:
            patch.setattr(checkpoint, step, killed)
            with pytest.raises(KeyboardInterrupt):
                checkpoint.save(tmp_path, model(1).state_dict(), card())
        _, read = checkpoint.load(tmp_path, CLASS_MAP)
        assert (read == old) == (step == "write_json")
    new = checkpoint.save(tmp_path, model(1).state_dict(), card())
    assert {path.name for path in tmp_path.iterdir()} == {f"{new.model_version}.safetensors", "model.json"}


def test_copy_makes_the_target_the_same_model(tmp_path):
    checkpoint.save(tmp_path / "champion", model(0).state_dict(), card())
    new = checkpoint.save(tmp_path / "challenger", model(1).state_dict(), card())
    assert checkpoint.copy(tmp_path / "challenger", tmp_path / "champion") == new
    assert checkpoint.load(tmp_path / "champion", CLASS_MAP)[1] == new
    assert len(list((tmp_path / "champion").iterdir())) == 2


def test_a_changed_byte_of_the_weights_is_noticed(tmp_path):
    written = checkpoint.save(tmp_path, model(0).state_dict(), card())
    path = tmp_path / f"{written.model_version}.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="is damaged"):
        checkpoint.load(tmp_path, CLASS_MAP)


def test_other_classes_are_refused_by_name(tmp_path):
    checkpoint.save(tmp_path, model(0).state_dict(), card())
    with pytest.raises(ClassMapError, match=r"road, car, but params\.yaml has car, road"):
        checkpoint.load(tmp_path, ClassMap(CLASS_MAP.entries[::-1]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_version": "../../etc/passwd"}, "`model_version`"),
        ({"epoch": "many"}, "`epoch`"),
        ({"surprise": 1}, "`surprise`"),
        ({"architecture_options": {"width": 8, "depth": 2}}, "does not fit"),
        ({"architecture": "unknown"}, "damaged"),
    ],
)
def test_a_wrong_card_is_refused(tmp_path, change, message):
    checkpoint.save(tmp_path, model(0).state_dict(), card())
    path = tmp_path / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(DataError) as caught:
        checkpoint.load(tmp_path, CLASS_MAP)
    assert message in str(caught.value)


def test_an_empty_folder_has_no_model(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        checkpoint.load(tmp_path, CLASS_MAP)
