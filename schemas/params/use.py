"""What becomes of a model: evaluate, gate, predict, push, serve, report."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from schemas.params.section import Section


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
