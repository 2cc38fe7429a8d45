"""What Label Studio sends to an ML backend, as far as it is read; what else a message holds, tokens too, is dropped.

Its client is label_studio/ml/api_connector.py.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

MAX_TASKS, MAX_PROMPTS = 1000, 200


class TaskMessage(BaseModel):
    """One task: its id and its data, whose image field holds an address."""

    id: int
    data: dict[str, Any]


class Context(BaseModel):
    """What the annotator clicked: items of a `result`, each a smart key point or rectangle."""

    result: list[dict[str, Any]] = Field(default_factory=list, max_length=MAX_PROMPTS)


class PredictParams(BaseModel):
    """With a context it is a click, without one a request for predictions."""

    context: Context | None = None


class PredictMessage(BaseModel):
    """`POST /predict`. `project`: number and creation time, `7.1764000000`. `label_config`: the project's XML."""

    tasks: list[TaskMessage] = Field(min_length=1, max_length=MAX_TASKS)
    project: str | int | None = None
    label_config: str
    params: PredictParams = PredictParams()

    @property
    def project_number(self) -> int | None:
        """The project's number, if the message says it."""
        number = str(self.project).split(".")[0]
        return int(number) if number.isdecimal() else None
