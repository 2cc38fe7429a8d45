"""The contract that every architecture of the registry keeps."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from torch.utils.flop_counter import FlopCounterMode

from pipeline import checkpoint
from pipeline.losses import Criterion
from pipeline.models import ARCHITECTURES, build, overview
from schemas.errors import ParamsError
from schemas.labels import VOID_INDEX, ClassEntry, ClassMap
from tests.model_cards import model_card

SIZES_HW = [(32, 32), (37, 51), (64, 33), (180, 240)]
SMALL = {
    "fcn32s": {"width": 2},
    "fcn16s": {"width": 2},
    "fcn8s": {"width": 2},
    "segnet": {"width": 4},
    "segnet_basic": {"width": 4},
    "unet": {"width": 4},
    "pspnet": {"width": 8},
    "efficientnet_lite0_fpn": {"width": 8, "pyramid": 8},
}
OPTIONS = [
    *SMALL.items(),
    ("fcn8s", {"width": 2, "norm": "batch", "dropout": 0.0}),
    ("unet", {"width": 4, "norm": "none", "upsampling": "bilinear"}),
    ("unet", {"width": 4, "norm": "group", "depth": 2}),
    ("unet", {"width": 4, "norm": "instance", "depth": 3}),
    ("pspnet", {"width": 4, "backbone": "resnet50"}),
    ("pspnet", {"width": 4, "backbone": "resnet50", "stem": "single", "output_stride": 16}),
    ("pspnet", {"width": 4, "stem": "single"}),
    ("pspnet", {"width": 8, "decoder_stride": 4}),
    ("pspnet", {"width": 8, "output_stride": 16, "decoder_stride": 2}),
    ("efficientnet_lite0_fpn", {"width": 8, "pyramid": 8, "decoder_stride": 2}),
]
every = pytest.mark.parametrize(("architecture", "options"), OPTIONS, ids=str)


def make(architecture, options, classes=5):
    torch.manual_seed(0)
    return build(architecture, classes, options)


def test_the_contract_covers_the_registry():
    assert set(SMALL) == set(ARCHITECTURES)


@every
@pytest.mark.parametrize("size_hw", SIZES_HW, ids=str)
def test_logits_have_the_size_of_the_input(architecture, options, size_hw):
    model = make(architecture, options).eval()
    with torch.no_grad():
        logits = model(torch.rand(2, 3, *size_hw))
    assert logits.shape == (2, 5, *size_hw)
    assert logits.dtype == torch.float32
    assert torch.isfinite(logits).all()


@every
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "channels_last"])
def test_every_parameter_gets_a_gradient_in_training_even_from_one_image(architecture, options, layout):
    model = make(architecture, options).to(memory_format=layout).train()
    heads = model.heads(torch.rand(1, 3, 61, 75).to(memory_format=layout))
    assert all(head.shape == (1, 5, 61, 75) for head in heads)
    sum((head * torch.rand_like(head)).sum() for head in heads).backward()
    untouched = [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert not untouched


@every
def test_the_layout_in_memory_changes_no_logit(architecture, options):
    model, images = make(architecture, options).eval(), torch.rand(2, 3, 45, 70)
    with torch.no_grad():
        expected = model(images)
        model.to(memory_format=torch.channels_last)
        torch.testing.assert_close(model(images.to(memory_format=torch.channels_last)), expected, rtol=1e-4, atol=1e-4)


@every
def test_evaluation_has_one_head_treats_images_apart_and_repeats_itself(architecture, options):
    model = make(architecture, options).eval()
    images = torch.rand(3, 3, 40, 40)
    with torch.no_grad():
        assert len(model.heads(images)) == 1
        torch.testing.assert_close(model(images)[1:2], model(images[1:2]), rtol=1e-4, atol=1e-4)
        assert torch.equal(model(images), model(images))


@every
def test_a_step_in_bfloat16_stays_finite(architecture, options):
    model = make(architecture, options).to(memory_format=torch.channels_last).train()
    images = torch.rand(2, 3, 64, 64).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        heads = model.heads(images)
    assert all(head.dtype == torch.float32 for head in heads)
    masks = torch.randint(0, 5, (2, 64, 64), dtype=torch.uint8)
    Criterion({"cross_entropy": 1.0}, torch.ones(5), auxiliary_weight=model.auxiliary_weight)(heads, masks).backward()
    assert all(torch.isfinite(weight.grad).all() for weight in model.parameters())


@every
def test_a_batch_of_nothing_but_void_teaches_nothing(architecture, options):
    model = make(architecture, options).train()
    masks = torch.full((2, 40, 40), VOID_INDEX, dtype=torch.uint8)
    loss = Criterion({"cross_entropy": 1.0}, torch.ones(5))(model.heads(torch.rand(2, 3, 40, 40)), masks)
    loss.backward()
    assert loss.item() == 0
    assert not any(weight.grad.any() for weight in model.parameters() if weight.grad is not None)


@every
def test_a_model_folder_gives_the_network_back(architecture, options, tmp_path):
    class_map = ClassMap([ClassEntry(name, "#000000") for name in ("road", "car", "tree")])
    model = make(architecture, options, classes=3).train()
    model(torch.rand(2, 3, 64, 64))  # moves the running statistics
    card = model_card(class_map, (64, 64), architecture=architecture, architecture_options=options)
    checkpoint.save(tmp_path, model.state_dict(), card)
    loaded, _ = checkpoint.load(tmp_path, class_map)
    image = torch.rand(1, 3, 50, 50)
    with torch.no_grad():
        assert torch.equal(model.eval()(image), loaded(image))


@every
def test_the_same_seed_builds_the_same_weights(architecture, options):
    weights = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        model = build(architecture, 5, options)
        weights.append(torch.cat([parameter.flatten() for parameter in model.parameters()]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@every
def test_padding_shows_only_at_its_edge(architecture, options):
    """A width that needs padding gives the same logits, far from the padded edge, as the padded image itself."""
    model = make(architecture, options).eval()
    image = torch.rand(1, 3, 64, 60)
    padded = torch.nn.functional.pad(image, (0, -60 % model.multiple, 0, 0), mode="replicate")
    with torch.no_grad():
        torch.testing.assert_close(model(image), model(padded)[..., :60])


@pytest.mark.parametrize(
    ("architecture", "cost"),
    [(name, cost) for name, architecture in ARCHITECTURES.items() for cost in architecture.costs],
    ids=str,
)
def test_the_costs_that_the_registry_states_are_counted(architecture, cost):
    with torch.device("meta"):
        model = build(architecture, 11, yaml.safe_load(f"{{{cost.options}}}"))
        with FlopCounterMode(display=False) as counter:
            model.eval()(torch.empty(1, 3, 360, 480))
    parameters = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    assert cost.parameters_m == round(parameters / 1e6, 1)
    assert cost.gmacs == round(counter.get_total_flops() / 2e9, 1)


def test_the_table_of_the_documentation_is_the_registry():
    text = (Path(__file__).parents[2] / "docs/architectures.md").read_text(encoding="utf-8")
    rows = [[cell.strip(" `") for cell in line.split("|")[1:5]] for line in text.splitlines() if " M | " in line]
    assert rows == [
        [name, cost.options, f"{cost.parameters_m} M", str(cost.gmacs)]
        for name, architecture in ARCHITECTURES.items()
        for cost in architecture.costs
    ]


@pytest.mark.parametrize(
    ("architecture", "options", "classes", "millions"),
    [
        ("fcn8s", {}, 11, 134.3),  # measured of another implementation; the paper rounds to 134
        ("segnet", {}, 11, 29.5),  # the paper's have biases before batch normalisation, ours don't: 0.2 % fewer
        ("segnet_basic", {}, 11, 1.425),  # the paper's
        ("unet", {"width": 64}, 2, 31.0),  # as counted of the paper's; batch normalisation adds 12 thousand
        ("pspnet", {"backbone": "resnet50"}, 21, 49.1),  # measured of another implementation, with the auxiliary head
    ],
)
def test_sizes_are_the_papers(architecture, options, classes, millions):
    with torch.device("meta"):
        model = build(architecture, classes, options)
    assert sum(weight.numel() for weight in model.parameters()) / 1e6 == pytest.approx(millions, rel=0.007)


def test_architectures_are_listed_without_importing_torch():
    code = "import sys, pipeline.models as m; print(len(m.overview())); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    rows = [line.split()[0] for line in overview()[1:]]
    assert [row for row in rows if not row.endswith(":")] == list(ARCHITECTURES)
    assert len(rows) == sum(len(architecture.costs) for architecture in ARCHITECTURES.values())
    assert max(map(len, overview())) < 100


@pytest.mark.parametrize(
    ("architecture", "options", "message"),
    [
        ("resnet", {}, "train.architecture is 'resnet', known are: fcn32s, fcn16s"),
        ("segnt", {}, "did you mean `segnet`?"),
        ("unet", {"widht": 4}, "did you mean `width`?"),
        ("unet", {"backbone": "x"}, "unknown option `backbone`"),
        ("unet", {"depth": 0}, "`depth`"),
        ("unet", {"norm": "layer"}, "`norm`"),
        ("fcn8s", {"dropout": 1.0}, "`dropout`"),
        ("pspnet", {"output_stride": 4}, "`output_stride`"),
        ("pspnet", {"decoder_stride": 8}, "`decoder_stride`"),
        ("pspnet", {"backbone": "vgg"}, "`backbone`"),
    ],
)
def test_wrong_architectures_and_options_are_named(architecture, options, message):
    with pytest.raises(ParamsError) as caught:
        build(architecture, 5, options)
    assert message in str(caught.value)
