"""The whole of `params.yaml`."""

from __future__ import annotations

from pydantic import Field, model_validator

from schemas.labels import VOID_INDEX, VOID_LABEL, ClassEntry, ClassMap
from schemas.params.data import ClassParams, PrelabelParams, PullParams, RasteriseParams, Source, SplitParams
from schemas.params.section import Section
from schemas.params.train import TrainParams
from schemas.params.use import EvaluateParams, GateParams, PredictParams, PushParams, ReportParams, ServeParams


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
