"""What the data are and what is made of them: source, classes, pull, prelabel, rasterise, split."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from schemas.labels import VOID_LABEL
from schemas.params.section import Section


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
    synonyms: list[Annotated[str, Field(min_length=1)]] = Field(default=[])


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
