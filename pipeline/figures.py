"""Pictures of the report: plots as inline SVG that follow the page's colours, and overlays as JPEG data URIs."""

from __future__ import annotations

import base64
import io
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup, escape
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from PIL import Image

from schemas.labels import VOID_INDEX, ClassMap

# Stand-ins that the finished SVG has replaced by the page's CSS variables, so that a plot follows light and dark.
INK, FAINT, ACCENT, SECOND, ON_ACCENT = "#010101", "#020202", "#030303", "#040404", "#050505"
CSS_VARIABLES = {INK: "--ink", FAINT: "--line", ACCENT: "--accent", SECOND: "--second", ON_ACCENT: "--on-accent"}

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": FAINT,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}

MIN_SHARE = 0.005
"""Cells of the confusion matrix below this share stay empty."""

MOST_WRITTEN_CLASSES = 16
"""Up to this many classes the confusion matrix has its numbers written in."""

Curve = tuple[Sequence[float], Sequence[float]]
"""x and y values of one curve."""


def curves_svg(name: str, curves: Mapping[str, Curve]) -> Markup:
    """Learning curves by label over the epoch, with a dot at each measured point where there are few."""
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(4.6, 2.7), layout="constrained")
        axes = figure.add_subplot()
        for (label, (x, y)), color in zip(curves.items(), (ACCENT, SECOND) * len(curves), strict=False):
            axes.plot(x, y, color=color, linewidth=1.8, label=label, marker="o", markersize=3 if len(x) <= 30 else 0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
        axes.tick_params(length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("epoch")
        axes.margins(x=0.02)
        if len(curves) > 1:
            axes.legend()
        return _inline(figure, f"learning curve of {name}")


def confusion_svg(labels: Sequence[str], pixels: NDArray[np.int64]) -> Markup:
    """Heat map of a confusion matrix, pixels (C, C) with row = actual class, each row as shares of its sum."""
    count = len(labels)
    shares = pixels / np.maximum(pixels.sum(axis=1, keepdims=True), 1)
    side = min(3.2 + 0.42 * count, 14)
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": "confusion", "axes.grid": False}):
        figure = Figure(figsize=(side, side * 0.86), layout="constrained")
        axes = figure.add_subplot(xlim=(0, count), ylim=(count, 0))
        axes.add_patch(Rectangle((0, 0), count, count, facecolor=FAINT, alpha=0.3, linewidth=0))
        for row, column in np.argwhere(shares >= MIN_SHARE):
            share = float(shares[row, column])
            axes.add_patch(
                Rectangle((column + 0.03, row + 0.03), 0.94, 0.94, facecolor=ACCENT, alpha=share, linewidth=0)
            )
            if count <= MOST_WRITTEN_CLASSES:
                color = ON_ACCENT if share > 0.6 else INK
                text = f"{100 * share:.0f}"
                axes.text(column + 0.5, row + 0.5, text, color=color, ha="center", va="center", fontsize=9)
        axes.set_xticks(np.arange(count) + 0.5, labels, rotation=90 if count > 6 else 0)
        axes.set_yticks(np.arange(count) + 0.5, labels)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_xlabel("predicted")
        axes.set_ylabel("actual")
        return _inline(figure, "confusion matrix, per cent of the actual class's pixels")


def coverage_svg(shares: Sequence[float], wanted: Sequence[float]) -> Markup:
    """How much of an image the first 1, 2, … masks cover, shares in 0..1, with lines at the shares that are wanted."""
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": "coverage"}):
        figure = Figure(figsize=(4.6, 2.7), layout="constrained")
        axes = figure.add_subplot(ylim=(0, 101))
        for share in wanted:
            axes.axhline(100 * share, color=SECOND, linewidth=1, linestyle=":")
        axes.plot(range(1, len(shares) + 1), [100 * share for share in shares], color=ACCENT, linewidth=1.8)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        axes.tick_params(length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("masks, largest first")
        axes.set_ylabel("% of an image covered")
        axes.margins(x=0.02)
        return _inline(figure, "share of an image that the largest masks cover")


def photo_uri(image: NDArray[np.uint8], width_px: int) -> str:
    """An RGB image, uint8 (H, W, 3), as JPEG data URI of at most `width_px`."""
    return _jpeg_uri(_shrink(image, width_px))


def overlay_uri(image: NDArray[np.uint8], mask: NDArray[np.uint8], class_map: ClassMap, width_px: int) -> str:
    """The image with a mask of class indices, uint8 (H, W), laid over it in class colours; void is darkened."""
    photo = _shrink(image, width_px)
    height, width = photo.shape[:2]
    small = np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))
    palette = np.zeros((256, 3), dtype=np.float32)
    palette[: len(class_map)] = [class_map.color_rgb(index) for index in range(len(class_map))]
    opacity = np.where(small == VOID_INDEX, 0.55, 0.7)[..., None].astype(np.float32)
    grey = photo.mean(axis=2, keepdims=True, dtype=np.float32)
    return _jpeg_uri((palette[small] * opacity + grey * (1 - opacity)).round().astype(np.uint8))


def _shrink(image: NDArray[np.uint8], width_px: int) -> NDArray[np.uint8]:
    photo = Image.fromarray(image)
    photo.thumbnail((width_px, width_px), Image.Resampling.LANCZOS)
    return np.asarray(photo)


def _jpeg_uri(image: NDArray[np.uint8]) -> str:
    sink = io.BytesIO()
    Image.fromarray(image).save(sink, "JPEG", quality=82, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(sink.getvalue()).decode()


def _inline(figure: Figure, description: str) -> Markup:
    """The figure as an `<svg>` element whose size, fonts and colours are the page's."""
    sink = io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)  # the browser's fonts draw it
        figure.savefig(sink, format="svg", metadata={"Date": None})
    svg = re.sub(r"<metadata>.*?</metadata>|<defs>\s*<style.*?</defs>", "", sink.getvalue(), flags=re.DOTALL)
    _, attributes, body = re.split(r"<svg ([^>]*)>", svg, maxsplit=1)
    (view_box,) = re.findall(r'viewBox="[^"]*"', attributes)
    body = re.sub(r" font-family: [^;\"]*;", "", body)
    body = re.sub(r'<g id="[^"]*"', "<g", body)
    for color, variable in CSS_VARIABLES.items():
        body = body.replace(color, f"var({variable})")
    return Markup(f'<svg {view_box} role="img" aria-label="{escape(description)}">{body}')
