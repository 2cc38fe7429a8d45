"""`params.yaml`, validated whole. One section per stage; everything but `source` and `classes` has a default."""

from __future__ import annotations

import difflib
import math
import re
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from schemas.errors import ParamsError
from schemas.labels import VOID_INDEX, VOID_LABEL, ClassEntry, ClassMap


class Section(BaseModel):
    """Base of every section: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class LabelStudioSource(Section):
    """A project on a Label Studio server. `LABEL_STUDIO_URL` in the environment overrides `url`."""

    kind: Literal["label_studio"]
    url: str | None = None
    project: int = Field(ge=1)


class ExportSource(Section):
    """A file exported from Label Studio as JSON, with the images in a folder (default: the file's own folder)."""

    kind: Literal["label_studio_export"]
    path: Path
    images: Path | None = None
    image_field: str = "image"


Source = Annotated[LabelStudioSource | ExportSource, Field(discriminator="kind")]


class ClassParams(Section):
    """One class; its index is its position. `synonyms`: further names that `prelabel.detector` looks for."""

    name: str = Field(min_length=1)
    color: str = Field(default="#808080", pattern=r"^#[0-9a-fA-F]{6}$")
    priority: int = 0
    synonyms: list[Annotated[str, Field(min_length=1)]] = []


class PullParams(Section):
    """`page_size` tasks a request; `image_workers` parallel downloads; `patience_s` to wait out an outage."""

    page_size: int = Field(default=100, ge=1, le=1000)
    image_workers: int = Field(default=4, ge=1, le=64)
    patience_s: float = Field(default=180.0, ge=0)


class PrelabelParams(Section):
    """The proposer and its options. `felzenszwalb` needs no weights: it groups pixels by colour, it is not SAM.

    `model`: `felzenszwalb`, or SAM as a hub id, a folder, or an original checkpoint. `scale`, `sigma`: felzenszwalb's.
    `min_mask_region_area`: px; null: 200 for felzenszwalb, 0 for SAM. From `points_per_side` to
    `crop_n_points_downscale_factor`: SAM's, see `pipeline.sam.automatic.AutomaticOptions`; 0 points: only what the
    detector finds. `embeddings_gb`: disk for SAM's embeddings in `.maskloop/embeddings`. `detector`: a text detector,
    hub id or folder, that finds boxes of the classes for SAM; it abstains below `detector_threshold`. `embed_image`:
    whether pickles hold the image. From `assign` on: how masks get a class, see `pipeline.assign`.
    """

    model: str = Field(default="felzenszwalb", min_length=1)
    scale: float = Field(default=150.0, gt=0)
    sigma: float = Field(default=0.8, ge=0)
    min_mask_region_area: int | None = Field(default=None, ge=0)
    points_per_side: int = Field(default=32, ge=0, le=256)
    points_per_batch: int = Field(default=64, ge=1)
    pred_iou_thresh: float = 0.88
    stability_score_thresh: float = Field(default=0.95, le=1)
    stability_score_offset: float = Field(default=1.0, ge=0)
    box_nms_thresh: float = Field(default=0.7, ge=0, le=1)
    crop_n_layers: int = Field(default=0, ge=0, le=4)
    crop_nms_thresh: float = Field(default=0.7, ge=0, le=1)
    crop_overlap_ratio: float = Field(default=512 / 1500, ge=0, lt=1)
    crop_n_points_downscale_factor: int = Field(default=1, ge=1)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    embeddings_gb: float = Field(default=4.0, ge=0)
    detector: str | None = Field(default=None, min_length=1)
    detector_threshold: float = Field(default=0.3, ge=0, le=1)
    embed_image: bool = False
    assign: tuple[Literal["human", "detector", "champion"], ...] = ("human", "detector", "champion")
    assign_iou: float = Field(default=0.7, gt=0, le=1)
    assign_share: float = Field(default=0.6, gt=0, le=1)
    refine: bool = False


class RasteriseParams(Section):
    """What pixels become.

    `unlabelled`: those that nobody labelled, `void` or a class name. `overlap`: which region wins where several lie on
    each other, see `pipeline.overlap`. `annotators`: which finished annotations of a task count, see
    `pipeline.annotations` and `pipeline.consensus`. `image_tag`: where a task shows several images, the name of the
    label config's image tag that the mask is of; regions drawn on others are rejected. null: regions of every tag.
    `sources`: whose pixels a mask holds, see `pipeline.assigned`; a human's are never overwritten.
    """

    unlabelled: str = VOID_LABEL
    overlap: Literal["order", "priority", "smallest_on_top", "void"] = "priority"
    annotators: Literal["latest", "ground_truth_first", "majority", "staple"] = "latest"
    image_tag: str | None = Field(default=None, min_length=1)
    sources: tuple[Literal["human", "sam", "model"], ...] = ("human",)

    @field_validator("sources")
    @classmethod
    def _people_first(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if "human" not in value:
            raise ValueError("leaves out `human`: a sample begins with what people labelled")
        return value


class SplitParams(Section):
    """Shares of the groups (0..1), the task's data field that names the group, and one that names a fixed split."""

    val: float = Field(default=0.15, ge=0, lt=1)
    test: float = Field(default=0.15, ge=0, lt=1)
    seed: int = 0
    group_by: str | None = None
    assigned_by: str | None = None

    @model_validator(mode="after")
    def _something_left_to_train_on(self) -> SplitParams:
        if self.val + self.test >= 1:
            raise ValueError(f"val + test is {self.val + self.test:g}, so nothing is left to train on")
        return self


class TrainParams(Section):
    """Architecture, schedule and augmentation.

    `size_hw`: images are brought to this size for the network and its output back to full size. `crop_hw`: random
    crops of that size, at most `size_hw`, are trained on. `architecture_options` go to the architecture's constructor.
    `encoder_weights`: what the encoder starts with, `imagenet` or the path of a file; `start_from`: a model folder
    whose weights training starts with; see `pipeline.models.initial`.
    `augment`: albumentations transforms by name with their arguments. `warmup`: share of the steps in which the
    learning rate rises. `ema`: decay of the weights' moving average. `loss`: factors by name, see `pipeline.losses`.
    `ohem`: share of the pixels, the hardest, that pixel losses learn from. `cache_gb`: limit of the decoded samples
    kept in `.maskloop/cache`. `workers`: threads that prepare batches; null: none on a CPU, up to 4 with a GPU.
    """

    architecture: str = "pspnet"
    architecture_options: dict[str, Any] = Field(default_factory=dict)
    encoder_weights: str | None = Field(default=None, min_length=1)
    start_from: str | None = Field(default=None, min_length=1)
    size_hw: tuple[int, int] = (360, 480)
    crop_hw: tuple[int, int] = (192, 256)
    epochs: int = Field(default=40, ge=1)
    batch_size: int = Field(default=4, ge=1)
    learning_rate: float = Field(default=2e-3, gt=0)
    weight_decay: float = Field(default=1e-2, ge=0)
    poly_power: float = Field(default=0.9, gt=0)
    schedule: Literal["poly", "cosine", "one_cycle"] = "poly"
    warmup: float = Field(default=0.0, ge=0, lt=1)
    ema: float | None = Field(default=None, gt=0, lt=1)
    loss: dict[str, float] = Field(default={"cross_entropy": 1.0}, min_length=1)
    ohem: float | None = Field(default=None, gt=0, le=1)
    class_weights: Literal["none", "median_frequency", "sqrt_median_frequency", "effective_number"] = (
        "sqrt_median_frequency"
    )
    augment: list[dict[str, dict[str, Any]]] = [
        {"HorizontalFlip": {"p": 0.5}},
        {"RandomScale": {"scale_limit": [-0.5, 0.25], "p": 1.0}},
        {"ColorJitter": {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.03, "p": 0.8}},
    ]
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    validate_every: int = Field(default=5, ge=1)  # epochs
    cache_gb: float = Field(default=10.0, ge=0)
    workers: int | None = Field(default=None, ge=0, le=64)
    seed: int = 0

    @property
    def window_hw(self) -> tuple[int, int]:
        """Size of the random crops: `crop_hw` where it fits into `size_hw`."""
        return min(self.crop_hw[0], self.size_hw[0]), min(self.crop_hw[1], self.size_hw[1])

    @field_validator("size_hw", "crop_hw")
    @classmethod
    def _at_least_one_cell(cls, value: tuple[int, int]) -> tuple[int, int]:
        if min(value) < 32:
            raise ValueError(f"is {value[0]}x{value[1]}, and the networks need at least 32x32")
        return value

    @field_validator("loss")
    @classmethod
    def _no_loss_is_maximised(cls, value: dict[str, float]) -> dict[str, float]:
        wrong = [name for name, factor in value.items() if not 0 < factor < math.inf]
        if wrong:
            raise ValueError(f"the factor of `{wrong[0]}` is {value[wrong[0]]:g}, and must be above 0")
        return value

    @model_validator(mode="after")
    def _one_start(self) -> TrainParams:
        if self.encoder_weights and self.start_from:
            raise ValueError("`start_from` has weights for the encoder, too: leave out `encoder_weights`")
        return self

    @model_validator(mode="after")
    def _one_rise(self) -> TrainParams:
        if self.schedule == "one_cycle" and self.warmup:
            raise ValueError("one_cycle rises by itself: leave out `warmup`")
        return self


class EvaluateParams(Section):
    """`batch_size` images at a time."""

    batch_size: int = Field(default=8, ge=1)


class GateParams(Section):
    """`tolerance`: how far mean IU (0..1) may fall below the champion's and the challenger still be promoted."""

    tolerance: float = Field(default=0.0, ge=0, le=1)


class PredictParams(Section):
    """`tolerance_px`: how far simplified polygons may leave the pixel edges. `min_area_px`: smaller ones stay home.
    `max_vertices`: a polygon with more gets a greater tolerance; null: no limit.

    `tile_hw`: tiles that images at `train.size_hw` are cut into, null: none; `overlap`: share of a tile that the next
    one covers too. `flips`: average with the mirror image. These three hold for evaluate and gate as well.
    """

    batch_size: int = Field(default=8, ge=1)
    tile_hw: tuple[int, int] | None = None
    overlap: float = Field(default=0.25, ge=0, le=0.9)
    flips: bool = False
    tolerance_px: float = Field(default=0.75, ge=0)
    min_area_px: int = Field(default=40, ge=0)
    max_vertices: int | None = Field(default=None, ge=4)

    @field_validator("tile_hw")
    @classmethod
    def _at_least_one_cell(cls, value: tuple[int, int] | None) -> tuple[int, int] | None:
        if value is not None and min(value) < 32:
            raise ValueError(f"is {value[0]}x{value[1]}, and the networks need at least 32x32")
        return value


class PushParams(Section):
    """`what`: whose masks become pre-annotations; annotators see the first that has any.

    `prelabels_as`: what pre-labels become. `unassigned_label`: the label in Label Studio of pre-labels without a class;
    null keeps them home. `chunk_tasks`, `chunk_mb`: upper limits of one request.
    """

    what: tuple[Literal["model", "sam"], ...] = Field(default=("model",), min_length=1)
    prelabels_as: Literal["polygon", "brush"] = "polygon"
    unassigned_label: str | None = None
    chunk_tasks: int = Field(default=200, ge=1, le=300)
    chunk_mb: float = Field(default=8.0, gt=0, le=10)

    @field_validator("what")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value):
            raise ValueError("names one twice")
        return value


class ServeParams(Section):
    """The backend for smart clicks in Label Studio.

    `model`: a Segment Anything as in `prelabel.model`, which it is by default. `answer_as`: what a click becomes; auto
    is a polygon if the project has such a control with the label. `queue`: requests that wait or work at once, more are
    refused. `image_hosts`: where images may be fetched besides Label Studio, such as https://bucket.example.com.
    `cache_mb`: memory for embeddings. `prefetch`: how many of the next tasks are embedded ahead.
    """

    host: str = "127.0.0.1"
    port: int = Field(default=9090, ge=1, le=65535)
    model: str | None = None
    answer_as: Literal["auto", "polygon", "brush"] = "auto"
    queue: int = Field(default=8, ge=1, le=32)
    image_hosts: tuple[str, ...] = ()
    max_request_mb: float = Field(default=8.0, gt=0)
    max_image_mb: float = Field(default=64.0, gt=0)
    cache_mb: float = Field(default=512.0, gt=0)
    prefetch: int = Field(default=3, ge=0)


class ReportParams(Section):
    """`overlays`: how many of best, typical and worst samples each are drawn."""

    overlays: int = Field(default=3, ge=0)


class Params(Section):
    """The whole of params.yaml."""

    source: Source
    classes: tuple[ClassParams, ...] = Field(min_length=1, max_length=VOID_INDEX)
    pull: PullParams = PullParams()
    prelabel: PrelabelParams = PrelabelParams()
    rasterise: RasteriseParams = RasteriseParams()
    split: SplitParams = SplitParams()
    train: TrainParams = TrainParams()
    evaluate: EvaluateParams = EvaluateParams()
    gate: GateParams = GateParams()
    predict: PredictParams = PredictParams()
    push: PushParams = PushParams()
    serve: ServeParams = ServeParams()
    report: ReportParams = ReportParams()

    @model_validator(mode="after")
    def _classes_are_distinct(self) -> Params:
        names = [entry.name for entry in self.classes]
        if VOID_LABEL in names:
            raise ValueError("classes: `void` is the label for pixels without a class; it can't be a class")
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise ValueError(f"classes: listed twice: {', '.join(doubled)}")
        if self.rasterise.unlabelled not in {VOID_LABEL, *names}:
            raise ValueError(
                f"rasterise.unlabelled: {self.rasterise.unlabelled!r} is neither `void` nor a class "
                f"({', '.join(names)})"
            )
        return self

    @property
    def class_map(self) -> ClassMap:
        """The class map that `classes` describes."""
        return ClassMap([ClassEntry(entry.name, entry.color, entry.priority) for entry in self.classes])


def load_params(path: Path) -> Params:
    """Read and validate params.yaml. Raises ParamsError that names every wrong key."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ParamsError(f"{path} does not exist", "Run `maskloop init` to write a commented one.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path} can't be read: {error}") from error
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ParamsError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(raw, dict):
        raise ParamsError(f"{path} holds {type(raw).__name__}, expected sections such as `source:` and `classes:`")
    return parse_params(raw, where=str(path))


def parse_params(raw: dict[str, Any], where: str = "params") -> Params:
    """Validate parameters given as a mapping. Raises ParamsError that names every wrong key."""
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        problems = "; ".join(_describe(item) for item in error.errors(include_url=False))
        raise ParamsError(f"{where}: {problems}", "Mend the named keys; README.md lists them all.") from None


def _describe(item: Any) -> str:
    location = [part for part in item["loc"] if part not in ("label_studio", "label_studio_export")]
    key = ".".join(str(part) for part in location)
    if item["type"] == "extra_forbidden":
        known = _known_keys(item["loc"][:-1])
        nearest = difflib.get_close_matches(str(location[-1]), known, n=1)
        hint = f"did you mean `{nearest[0]}`?" if nearest else f"known here: {', '.join(known)}"
        return f"unknown key `{key}` ({hint})"
    message = re.sub(r"^Value error, ", "", item["msg"])
    if item["type"] == "missing":
        return f"`{key}` is missing"
    return f"`{key}`: {message} (found {item['input']!r:.80})" if key else message


def _known_keys(location: tuple[Any, ...]) -> list[str]:
    model: Any = Params
    for part in location:
        if isinstance(part, int):
            continue
        if part in ("label_studio", "label_studio_export"):
            model = LabelStudioSource if part == "label_studio" else ExportSource
            continue
        annotation = model.model_fields[part].annotation
        candidates = [arg for arg in (annotation, *get_args(annotation)) if isinstance(arg, type)]
        model = next((arg for arg in candidates if issubclass(arg, BaseModel)), model)
    return list(model.model_fields)
