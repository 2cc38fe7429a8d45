"""`params.yaml`, validated whole. One section per stage; everything but `source` and `classes` has a default."""

from schemas.params.data import (
    ClassParams,
    ExportSource,
    LabelStudioSource,
    PrelabelParams,
    RasteriseParams,
    SplitParams,
)
from schemas.params.load import load_params, parse_params
from schemas.params.train import TrainParams
from schemas.params.use import PredictParams
from schemas.params.whole import Params

__all__ = [
    "ClassParams",
    "ExportSource",
    "LabelStudioSource",
    "Params",
    "PredictParams",
    "PrelabelParams",
    "RasteriseParams",
    "SplitParams",
    "TrainParams",
    "load_params",
    "parse_params",
]
