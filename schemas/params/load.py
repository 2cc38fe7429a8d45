"""`params.yaml` → Params, or an error that names every wrong key."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from schemas.errors import ParamsError
from schemas.params.data import ExportSource, LabelStudioSource
from schemas.params.whole import Params


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
