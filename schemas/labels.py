"""The class map (label ⇄ class index) and the Label Studio label config made from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from schemas.errors import ClassMapError

VOID_INDEX = 255
"""Ignore index: pixels nobody labelled, or that a region labelled `void` cut out."""

VOID_LABEL = "void"

# (control tag, its tag for one label, name of the control, extra attributes)
CONTROLS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("PolygonLabels", "polygon", {"strokeWidth": "1", "pointSize": "small", "opacity": "0.5"}),
    ("RectangleLabels", "rectangle", {"canRotate": "true", "opacity": "0.5"}),
    ("EllipseLabels", "ellipse", {"opacity": "0.5"}),
    ("BrushLabels", "brush", {}),
)

REGION_TAGS = (*(tag for tag, _, _ in CONTROLS), "BitmaskLabels", "VectorLabels", "Labels")
"""Control tags whose labels regions bear; <Labels> serves <Polygon>, <Brush> and so on that have none themselves."""

SMART_CONTROLS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("KeyPointLabels", "smart-point", {"smart": "true", "smartOnly": "true"}),
    ("RectangleLabels", "smart-rectangle", {"smart": "true", "smartOnly": "true"}),
)
"""What annotators prompt `maskloop serve` with."""


@dataclass(frozen=True, slots=True)
class ClassEntry:
    """One class: its label, `#rrggbb` colour, and stacking priority (higher lies on top; default 0)."""

    name: str
    color: str
    priority: int = 0


class ClassMap:
    """Label → class index, where the index is the position in `params.yaml` (uint8, 0..254)."""

    def __init__(self, entries: Sequence[ClassEntry]) -> None:
        self.entries = tuple(entries)
        self._index_of = {entry.name: index for index, entry in enumerate(self.entries)}

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def names(self) -> tuple[str, ...]:
        """Labels in index order."""
        return tuple(entry.name for entry in self.entries)

    def index(self, label: str) -> int | None:
        """Class index of a label, `VOID_INDEX` for `void`, None for a label that is not in the class map."""
        if label == VOID_LABEL:
            return VOID_INDEX
        return self._index_of.get(label)

    def label(self, index: int) -> str:
        """Label of a class index; `void` for `VOID_INDEX`. Raises IndexError for any other value."""
        return VOID_LABEL if index == VOID_INDEX else self.entries[index].name

    def color_rgb(self, index: int) -> tuple[int, int, int]:
        """Colour of a class index as (R, G, B) in 0..255; black for void."""
        if index == VOID_INDEX:
            return (0, 0, 0)
        value = self.entries[index].color.lstrip("#")
        return int(value[0:2], 16), int(value[2:4], 16), int(value[4:6], 16)

    def digest(self) -> str:
        """SHA-256 of what decides the meaning of a mask value: the names in order."""
        return hashlib.sha256(json.dumps(self.names, ensure_ascii=False).encode()).hexdigest()


def label_config(class_map: ClassMap, image_field: str = "image", smart: bool = False) -> str:
    """The Label Studio label config (XML) with a polygon, rectangle, ellipse and brush control for every label.

    `smart`: with the controls for smart clicks, too; the others then say that they are not (the editor's default), and
    a heading tells the rows of labels apart.
    """
    view = ElementTree.Element("View")
    plain = {"smart": "false"} if smart else {}
    for tag, name, attributes in (*CONTROLS, *(SMART_CONTROLS if smart else ())):
        if smart:
            ElementTree.SubElement(view, "Header", {"value": name.replace("-", " ").capitalize(), "size": "6"})
        control = ElementTree.SubElement(view, tag, {"name": name, "toName": "image", **plain, **attributes})
        for entry in class_map.entries:
            ElementTree.SubElement(control, "Label", {"value": entry.name, "background": entry.color})
        ElementTree.SubElement(control, "Label", {"value": VOID_LABEL, "background": "#000000"})
    image_attributes = {"name": "image", "value": f"${image_field}", "zoom": "true", "zoomControl": "true"}
    view.insert(0, ElementTree.Element("Image", image_attributes))
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode")


@dataclass(frozen=True, slots=True)
class LabelConfig:
    """What maskloop needs of a label config.

    `image_field`: key of the task's data that holds the image's address. `controls`: control tag → (name, toName).
    `labels`: control tag → its labels.
    """

    image_field: str
    controls: dict[str, tuple[str, str]]
    labels: dict[str, frozenset[str]]

    @property
    def all_labels(self) -> frozenset[str]:
        """Labels of all controls together."""
        return frozenset().union(*self.labels.values())

    @classmethod
    def parse(cls, xml: str) -> LabelConfig:
        """Read a label config. Raises ClassMapError if it is no XML or has no Image tag or no region control."""
        try:
            root = ElementTree.fromstring(xml)
        except ElementTree.ParseError as error:
            raise ClassMapError(f"the project's label config is not valid XML: {error}") from error
        image = root.find(".//Image")
        if image is None:
            raise ClassMapError("the label config has no <Image> tag", "`maskloop label-config` prints one that fits.")
        controls: dict[str, tuple[str, str]] = {}
        labels: dict[str, frozenset[str]] = {}
        for tag in REGION_TAGS:
            control = root.find(f".//{tag}")
            if control is not None:
                controls[tag] = (control.get("name", ""), control.get("toName", ""))
                found = (child.get("alias") or child.get("value") for child in control.iter("Label"))
                labels[tag] = frozenset(label for label in found if label)
        return cls(image.get("value", "$image").lstrip("$"), controls, labels)

    def check(self, class_map: ClassMap, unassigned_label: str | None = None) -> None:
        """Raise ClassMapError naming every label that only one of label config and class map knows.

        `unassigned_label`: one that is no class, of pre-labels that have none.
        """
        config_labels = self.all_labels - {VOID_LABEL, unassigned_label}
        missing = sorted(set(class_map.names) - config_labels)
        unknown = sorted(config_labels - set(class_map.names))
        if not (missing or unknown):
            return
        parts = []
        if unknown:
            parts.append(f"the label config has labels that the class map lacks: {', '.join(unknown)}")
        if missing:
            parts.append(f"the class map has classes that the label config lacks: {', '.join(missing)}")
        raise ClassMapError(
            "; ".join(parts),
            "Add them at the end of `classes` in params.yaml (the index is the position), or to the label config.",
        )
