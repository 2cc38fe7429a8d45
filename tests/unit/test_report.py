"""The report: one page that shows what there is, says what is missing, and loads nothing."""

from __future__ import annotations

import base64
import csv
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from connectors.masks import write_mask
from connectors.storage import write_json, write_table
from connectors.task_store import task_row, write_part
from pipeline.figures import confusion_svg, curves_svg, overlay_uri
from pipeline.prelabel_summary import summary
from pipeline.progress import Silent
from pipeline.report import report, select
from schemas.errors import DataError
from schemas.manifest import (
    ASSIGNED_SCHEMA,
    CONFUSION,
    EVALUATION,
    GATE,
    IMAGES_DIR,
    MANIFEST,
    MANIFEST_SCHEMA,
    MASKS_DIR,
    PREDICTIONS_DIR,
    PREDICTIONS_SCHEMA,
    PRELABEL_REPORT,
    PUSH,
    REJECTS,
    REJECTS_SCHEMA,
    REPORT,
    REPORTS_DIR,
    SAMPLE_SCORES,
    SAMPLE_SCORES_SCHEMA,
    TASKS_DIR,
    TRAIN_REPORT_DIR,
)
from schemas.params import Params, parse_params
from schemas.tasks import Task

LABELS = ("road", "car & <van>")
SCORES = {"pixel_accuracy": 0.9, "mean_accuracy": 0.8, "mean_iu": 0.7123, "frequency_weighted_iu": 0.85}


def params(overlays: int = 1) -> Params:
    colors = ("#804080", "#40007f")
    return parse_params(
        {
            "source": {"kind": "label_studio", "project": 1},
            "classes": [{"name": name, "color": color} for name, color in zip(LABELS, colors, strict=True)],
            "report": {"overlays": overlays},
        }
    )


def split_of(task_id: int) -> str:
    return "test" if task_id == 5 else "train" if task_id == 6 else "val"


def write_samples(folder: Path) -> None:
    """Six samples of 20x40 px, left half road; tasks 1 to 4 are val, with rising mean IU."""
    mask = np.zeros((20, 40), dtype=np.uint8)
    mask[:, 20:] = 1
    mask[0] = 255
    manifest, scored, tasks = [], [], {}
    for task_id in range(1, 7):
        image, annotated = IMAGES_DIR / f"{task_id}.png", MASKS_DIR / f"{task_id}.png"
        predicted = REPORTS_DIR / "predictions" / f"{task_id}.png"
        (folder / IMAGES_DIR).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 20), (task_id * 30, 99, 0)).save(folder / image)
        write_mask(folder / annotated, mask)
        write_mask(folder / predicted, np.minimum(mask, 1))
        sample = {
            "task_id": task_id, "image": str(image), "mask": str(annotated), "width": 40, "height": 20,
            "group": str(task_id), "split": split_of(task_id), "image_sha256": "0" * 64, "class_pixels": [570, 190],
            "void_pixels": 40, "annotation_id": task_id, "regions": 2, "rejected_regions": 0, "inputs_sha256": "0" * 64,
            "contested": [{"a": 0, "b": 1, "pixels": task_id}] if task_id > 4 else [], "annotators": 1 + task_id // 6,
            "agreement": 0.625 if task_id == 6 else None, "annotation_ids": [task_id],
            "passed_over": [{"kind": "relation", "count": 2}, {"kind": "choices", "count": task_id}][: task_id // 4],
        }  # fmt: skip
        manifest.append(sample)
        score = {"task_id": task_id, "split": split_of(task_id), "mean_iu": task_id / 10, "prediction": str(predicted)}
        scored.append(score)
        tasks[task_id] = task_row(Task(task_id, "1", {"image": "x"}, "x"))
    write_part(folder / TASKS_DIR, 0, tasks)
    write_table(folder / MANIFEST, manifest, MANIFEST_SCHEMA)
    write_table(folder / SAMPLE_SCORES, scored, SAMPLE_SCORES_SCHEMA)


def write_confusion(folder: Path, pixels: list[list[int]]) -> None:
    with (folder / CONFUSION).open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["actual", "predicted", "pixels"])
        for actual, row in zip(LABELS, pixels, strict=True):
            writer.writerows([actual, predicted, count] for predicted, count in zip(LABELS, row, strict=True))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project folder after a whole round."""
    write_samples(tmp_path)
    split = {**SCORES, "per_class": {LABELS[0]: 0.75, LABELS[1]: None}}
    write_json(tmp_path / EVALUATION, {"val": {**split, "samples": 4}, "test": {**split, "mean_iu": 0.6, "samples": 1}})
    write_confusion(tmp_path, [[90, 10], [0, 50]])
    models = [{"model_version": "unet-new", "mean_iu": 0.7123}, {"model_version": "unet-old", "mean_iu": 0.65}]
    gate = {"decision": "promoted", "reason": "better", "challenger": models[0], "champion_before": models[1]}
    write_json(tmp_path / GATE, {**gate, "champion": "unet-new", "val_samples": 4})
    push = {"kind": "pushed", "model_version": "unet-new", "pushed": 7, "unchanged": 2}
    write_json(tmp_path / PUSH, {**push, "review_url": "http://127.0.0.1:8080/projects/1/data"})
    rejects = [
        {"task_id": number, "reason": "too_few_points" if number % 3 else "unknown_label",
         "detail": f"found <b>{number}</b>", "remedy": "Mend it."}
        for number in range(60)
    ]  # fmt: skip
    write_table(tmp_path / REJECTS, rejects, REJECTS_SCHEMA)
    prediction = {"image": "x", "mask": "x", "width": 1, "height": 1, "model_version": "unet-new", "score": 0.5}
    rows = [{"task_id": number, **prediction, "regions": 1, "result": "[]"} for number in range(9)]
    write_table(tmp_path / PREDICTIONS_DIR / "predictions.parquet", rows, PREDICTIONS_SCHEMA)
    plots = tmp_path / TRAIN_REPORT_DIR / "plots" / "metrics"
    for name, text in {
        "train/loss": "step\tloss\n0\t2.0\n1\t1.5\n2\t1.0\n",
        "val/loss": "step\tloss\n1\t1.8\n",
        "val/miou": "step\tmiou\n1\t0.3\n2\tnan\n",
        "learning_rate": "step\tlearning_rate\n0\t0.1\n1\t0.05\n",
    }.items():
        (plots / name).parent.mkdir(parents=True, exist_ok=True)
        (plots / f"{name}.tsv").write_text(text)
    write_json(tmp_path / PRELABEL_REPORT, prelabel_summary())
    return tmp_path


def page(folder: Path, overlays: int = 1) -> str:
    report(params(overlays), folder, Silent())
    return (folder / REPORT).read_text()


def section(html: str, name: str) -> str:
    """Text of a section without its tags, whitespace collapsed."""
    (body,) = re.findall(rf'<section id="{name}">(.*?)</section>', html, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())


def prelabel_summary() -> dict[str, Any]:
    """Masks that cover 80 % of one image, and 40, 60 and 90 % of another one."""
    rows = [
        {"task_id": 1, "image_sha256": "a", "mask": 0, "new_px": 80, "class_index": 0, "by": "human", "human_px": 80},
        {"task_id": 2, "image_sha256": "b", "mask": 0, "new_px": 40, "class_index": 1, "by": "champion"},
        {"task_id": 2, "image_sha256": "b", "mask": 1, "new_px": 20, "class_index": 0, "by": "human", "human_px": 20},
        {"task_id": 2, "image_sha256": "b", "mask": 2, "new_px": 30},
    ]
    same = {"image_px": 100, "inputs_sha256": "c", "human_px": 0, "agreeing_px": 0}
    for number, row in enumerate(rows):
        agreeing = {"agreeing_px": 60 if number == 0 else row.get("human_px", 0) - 5 * (number == 2)}
        rows[number] = same | row | {"area_px": 90 - number} | agreeing
    return summary(pa.Table.from_pylist(rows, schema=ASSIGNED_SCHEMA), params().class_map)


class Addresses(HTMLParser):
    """Everything that a browser would follow or load."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "srcset", "href", "xlink:href", "data", "poster") and value is not None:
                (self.links if tag == "a" else self.loads).append(value)


def test_the_page_loads_nothing(folder: Path) -> None:
    html = page(folder)
    addresses = Addresses(html)
    assert all(address.startswith(("data:", "#")) for address in addresses.loads)
    assert [link for link in addresses.links if not link.startswith("#")] == ["http://127.0.0.1:8080/projects/1/data"]
    assert "script" not in addresses.tags and "link" in addresses.tags
    assert not re.search(r"url\((?!#)|@import", html)


def test_the_same_inputs_give_the_same_bytes(folder: Path) -> None:
    assert page(folder) == page(folder)


def test_the_headline_and_the_counts(folder: Path) -> None:
    text = " ".join(re.sub(r"<[^>]+>", " ", page(folder).partition("</style>")[2]).split())
    assert "Champion unet-new promoted Better." in text
    assert "0.712 mean IU, val 0.600 mean IU, test 6 tasks 6 samples from annotations 9 tasks predicted" in text
    assert "7 predictions pushed 60 rejects" in text


def test_scores_name_every_class_and_leave_a_dash_for_absent_ones(folder: Path) -> None:
    text = section(page(folder), "scores")
    assert "Pixel accuracy 0.900 0.900" in text
    assert "road 0.750 0.750" in text
    assert "car &amp; &lt;van&gt; – –" in text
    assert "Champion before unet-old 0.650" in text


def test_train_and_val_of_one_metric_share_a_plot(folder: Path) -> None:
    html = page(folder)
    titles = re.findall(r"<h3>([^<]*)</h3><svg", html)
    assert titles == ["loss, train and val", "mean IU, val", "learning rate"]


def test_scores_of_a_kept_round_are_marked_as_the_challengers(folder: Path) -> None:
    worse = {"decision": "kept", "reason": "worse", "challenger": {"model_version": "unet-new", "mean_iu": 0.5}}
    old = {"model_version": "unet-old", "mean_iu": 0.65}
    write_json(folder / GATE, {**worse, "champion_before": old, "champion": "unet-old", "val_samples": 4})
    html = page(folder)
    assert "mean IU, val (challenger)" in html
    assert '<span class="badge">kept</span>' in html


def test_overlays_are_small_jpegs_of_worst_typical_and_best(folder: Path) -> None:
    html = page(folder)
    assert re.findall(r"<span>task (\d)</span><b>([\d.]+)</b>", html) == [
        ("1", "0.100"),
        ("2", "0.200"),
        ("4", "0.400"),
    ]
    pictures = re.findall(r'src="data:image/jpeg;base64,([^"]+)" alt="(\w+) of task', html)
    assert [what for _, what in pictures] == ["image", "annotation", "prediction"] * 3
    assert Image.open(io.BytesIO(base64.b64decode(pictures[0][0]))).size == (40, 20)


def test_an_overlay_that_cant_be_drawn_says_why(folder: Path) -> None:
    (folder / IMAGES_DIR / "1.png").unlink()
    text = section(page(folder), "samples")
    assert "data/images/1.png does not exist" in text
    assert str(folder) not in text


def test_class_shares_are_of_the_labelled_pixels(folder: Path) -> None:
    text = section(page(folder), "data")
    assert "val 4 samples, 5.0 % of all pixels void" in text
    assert "road 75.0 75.0 75.0" in text


def test_the_worst_pairs_and_tasks_come_first(folder: Path) -> None:
    text = section(page(folder), "quality")
    assert "road / car &amp; &lt;van&gt; 11 2 " in text  # pixels of tasks 5 and 6 together
    assert "6 road / car &amp; &lt;van&gt; 6 0.8 5 road / car &amp; &lt;van&gt; 5 0.6" in text
    assert "Task annotators mean IoU 6 2 0.625" in text


def test_what_is_no_region_is_counted_by_type(folder: Path) -> None:
    assert "No region, so nothing to paint: 6 relation." in section(page(folder), "rejects")  # of tasks 4 to 6
    rows = pq.read_table(folder / MANIFEST).to_pylist()
    for row in rows:
        row["passed_over"] = []
    write_table(folder / MANIFEST, rows, MANIFEST_SCHEMA)
    assert "No region" not in page(folder)


def test_pre_labels_are_counted_and_compared_with_people(folder: Path) -> None:
    text = section(page(folder), "prelabels")
    assert "4 masks of 2 images, 1 to 3 an image, in the middle 2." in text
    assert "50.0 1.5 2 90.0 3 1 95.0 – 0" in text
    assert "a region of people 2 50.0 75.0 the text detector 0 0.0 – the champion 1 25.0 – nobody 1 25.0 –" in text


def test_rejects_are_counted_by_reason_and_cut_at_fifty(folder: Path) -> None:
    html = page(folder)
    text = section(html, "rejects")
    assert "the first 50 of 60" in text and "data/rejects.parquet" in text
    assert "40 too_few_points 20 unknown_label" in text
    assert "found &lt;b&gt;49&lt;/b&gt;" in text and "found &lt;b&gt;50" not in text


@pytest.mark.parametrize(
    ("push", "expected"),
    [
        ({"kind": "no server", "model_version": None, "review_url": None}, "no server to push to"),
        ({"kind": "nothing", "model_version": None, "review_url": None}, "nothing was pushed"),
        ({"kind": "pushed", "model_version": "m", "unchanged": 2, "review_url": None}, "2 were there already"),
        ({"kind": "pushed", "model_version": "m", "review_url": "javascript:alert(1)"}, "3 predictions of m"),
    ],
)
def test_what_was_pushed(folder: Path, push: dict[str, Any], expected: str) -> None:
    write_json(folder / PUSH, {"pushed": 3, **push})
    html = page(folder)
    assert expected in section(html, "push")
    assert "javascript:" not in html


@pytest.mark.parametrize(
    ("path", "part"),
    [
        (GATE, "gate"),
        (EVALUATION, "scores"),
        (CONFUSION, "confusion"),
        (SAMPLE_SCORES, "overlays"),
        (MANIFEST, "overlays, quality, samples, shares"),
        (REJECTS, "rejects"),
        (PREDICTIONS_DIR / "predictions.parquet", "predictions"),
        (PUSH, "push"),
        (PRELABEL_REPORT, "prelabels"),
    ],
)
def test_a_missing_input_is_named_and_the_rest_is_shown(folder: Path, path: Path, part: str) -> None:
    (folder / path).unlink()
    assert report(params(), folder, Silent()) == f"reports/index.html written, without {part}"
    html = (folder / REPORT).read_text()
    assert html.count('class="gap"') == len(set(part.split(", ")) - {"samples", "predictions"})
    if part != "predictions":
        assert f"{path} does not exist. Run `dvc repro`." in html


def test_no_test_split_is_shown_as_dashes(folder: Path) -> None:
    write_json(folder / EVALUATION, {"val": {**SCORES, "per_class": dict.fromkeys(LABELS, 0.5), "samples": 4}})
    text = section(page(folder), "scores")
    assert "4 val and no test samples" in text
    assert "Pixel accuracy 0.900 –" in text


def test_an_empty_folder_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing to report"):
        report(params(), tmp_path, Silent())
    assert not (tmp_path / REPORT).exists()


def test_a_file_of_another_form_is_one_clear_line(folder: Path) -> None:
    write_json(folder / GATE, {"decision": "promoted"})
    with pytest.raises(DataError, match="another form"):
        report(params(), folder, Silent())


@pytest.mark.parametrize("content", ["", "actual,predicted\na,b\n", "actual,predicted,pixels\na,a,many\n"])
def test_a_broken_confusion_matrix_is_named(folder: Path, content: str) -> None:
    (folder / CONFUSION).write_text(content)
    assert report(params(), folder, Silent()).endswith("without confusion")
    assert "reports/confusion.csv does not hold" in (folder / REPORT).read_text()


@pytest.mark.parametrize(
    ("total", "count", "expected"),
    [
        (10, 3, ([0, 1, 2], [3, 4, 5], [9, 8, 7])),
        (9, 3, ([0, 1, 2], [3, 4, 5], [8, 7, 6])),
        (11, 1, ([0], [5], [10])),
        (4, 3, ([0, 1, 2], [], [3])),
        (2, 3, ([0, 1], [], [])),
        (0, 3, ([], [], [])),
        (5, 0, ([], [], [])),
    ],
)
def test_select_never_takes_a_sample_twice(total: int, count: int, expected: tuple[list[int], ...]) -> None:
    assert tuple(select(list(range(total)), count).values()) == expected


def test_overlay_colours_follow_the_class_map() -> None:
    mask = np.array([[0, 1], [255, 0]], dtype=np.uint8).repeat(32, 0).repeat(32, 1)
    uri = overlay_uri(np.full((64, 64, 3), 100, dtype=np.uint8), mask, params().class_map, 360)
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))).astype(int)
    for (y, x), color in {(16, 16): (128, 64, 128), (16, 48): (64, 0, 127)}.items():
        assert np.abs(picture[y, x] - (0.7 * np.array(color) + 30)).max() <= 4
    assert np.abs(picture[48, 16] - 45).max() <= 4


def test_plots_take_their_colours_from_the_page_and_escape_labels() -> None:
    svg = curves_svg("loss", {"train": ([1, 2], [2.0, 1.0]), "val <x>": ([2], [1.5])})
    assert "var(--accent)" in svg and "var(--second)" in svg
    assert "val &lt;x&gt;" in svg and "<metadata" not in svg and "<style" not in svg
    heat = confusion_svg(["$a$", "路"], np.array([[3, 1], [0, 0]]))
    assert ">$a$<" in heat and ">路<" in heat
    assert re.findall(r">(\d+)</text>", heat) == ["75", "25"]  # the class that never occurs has no shares
