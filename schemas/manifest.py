"""Tables of the project folder: samples, manifest, rejects, predictions, and the paths they live at."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

# Paths, relative to the project folder.
CLASSES_LOCK = Path("classes.lock")
RESOLVED_PARAMS = Path("data/params.yaml")
PROBE = Path("data/probe.json")
TASKS_DIR = Path("data/tasks")
IMAGES_DIR = Path("data/images")
PRELABELS_DIR = Path("data/prelabels")
MASKS_DIR = Path("data/masks")
SAMPLES = Path("data/samples.parquet")
REJECTS = Path("data/rejects.parquet")
MANIFEST = Path("data/manifest.parquet")
CHALLENGER_DIR = Path("models/challenger")
CHAMPION_DIR = Path("models/champion")
PREDICTIONS_DIR = Path("data/predictions")
REPORTS_DIR = Path("reports")
TRAIN_REPORT_DIR = REPORTS_DIR / "train"
EVALUATION = REPORTS_DIR / "evaluate.json"
CONFUSION = REPORTS_DIR / "confusion.csv"
SAMPLE_SCORES = REPORTS_DIR / "samples.parquet"
GATE = REPORTS_DIR / "gate.json"
PUSH = REPORTS_DIR / "push.json"
PRELABEL_IMPORT = REPORTS_DIR / "prelabel_import.csv"
REPORT = REPORTS_DIR / "index.html"
SCRATCH_DIR = Path(".maskloop")
RASTERISED = SCRATCH_DIR / "rasterised.parquet"

ASSIGNED = Path("data/assigned.parquet")
SOURCES_DIR = Path("data/sources")
PRELABEL_REPORT = REPORTS_DIR / "prelabels.json"

SPLITS = ("train", "val", "test")

CONTESTED_TYPE = pa.struct(
    [
        pa.field("a", pa.int32()),  # class index
        pa.field("b", pa.int32()),  # class index, greater than a
        pa.field("pixels", pa.int64()),  # that regions of both classes cover
    ]
)

SOURCE_PIXELS_TYPE = pa.struct([pa.field(name, pa.int64()) for name in ("human", "sam", "model")])

PASSED_OVER_TYPE = pa.struct([pa.field("kind", pa.string()), pa.field("count", pa.int32())])

MANIFEST_SCHEMA = pa.schema(
    [
        pa.field("task_id", pa.int64(), nullable=False),
        pa.field("image", pa.string(), nullable=False),
        pa.field("mask", pa.string(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),  # of the image as displayed (EXIF applied), in pixels
        pa.field("height", pa.int32(), nullable=False),
        pa.field("group", pa.string(), nullable=False),
        pa.field("split", pa.string()),  # train | val | test; null until the split stage has run
        pa.field("image_sha256", pa.string(), nullable=False),
        pa.field("class_pixels", pa.list_(pa.int64()), nullable=False),  # pixels per class index
        pa.field("void_pixels", pa.int64(), nullable=False),
        pa.field("annotation_id", pa.int64(), nullable=False),  # the latest of `annotation_ids`
        pa.field("annotator", pa.string()),  # who made that one
        pa.field("regions", pa.int32(), nullable=False),  # painted
        pa.field("rejected_regions", pa.int32(), nullable=False),
        pa.field("assigned_split", pa.string()),  # what the task's data says, where split.assigned_by names a field
        pa.field("inputs_sha256", pa.string(), nullable=False),  # of all that the mask was made from
        pa.field("contested", pa.list_(CONTESTED_TYPE), nullable=False),  # by class pair, without the pairs at 0
        pa.field("annotators", pa.int32(), nullable=False),  # finished annotations that could be painted
        pa.field("agreement", pa.float64()),  # mean IoU between those, 0..1; null if there is but one
        pa.field("annotation_ids", pa.list_(pa.int64()), nullable=False),  # what the mask was made from
        pa.field("passed_over", pa.list_(PASSED_OVER_TYPE), nullable=False),  # results that cover no pixel, by type
        pa.field("source_pixels", SOURCE_PIXELS_TYPE),  # labelled pixels by whose they are, see `pipeline.assigned`
    ],
    metadata={"maskloop.table": "manifest", "maskloop.version": "3"},
)

RASTERISED_SCHEMA = pa.schema(
    [
        pa.field("task_id", pa.int64(), nullable=False),
        pa.field("revision", pa.string(), nullable=False),
        pa.field("image", pa.string()),
        pa.field("image_sha256", pa.string()),
        pa.field("image_error", pa.string()),
        pa.field("has_image", pa.bool_(), nullable=False),  # whether the file was there
    ],
)
"""What the tasks were like when they were last rasterised; its metadata say by which settings, and into what."""

REJECTS_SCHEMA = pa.schema(
    [
        pa.field("task_id", pa.int64(), nullable=False),
        pa.field("annotation_id", pa.int64()),
        pa.field("region_id", pa.string()),  # null: the whole task or annotation is left out
        pa.field("reason", pa.string(), nullable=False),  # short stable code
        pa.field("detail", pa.string(), nullable=False),
        pa.field("remedy", pa.string(), nullable=False),
    ],
    metadata={"maskloop.table": "rejects", "maskloop.version": "1"},
)

PREDICTIONS_SCHEMA = pa.schema(
    [
        pa.field("task_id", pa.int64(), nullable=False),
        pa.field("image", pa.string(), nullable=False),
        pa.field("mask", pa.string(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("model_version", pa.string(), nullable=False),
        pa.field("score", pa.float64(), nullable=False),  # mean probability of the predicted class, 0..1
        pa.field("regions", pa.int32(), nullable=False),
        pa.field("result", pa.string(), nullable=False),  # Label Studio's `result` as JSON
        pa.field("outline_iou", pa.float64()),  # mean IoU of `mask` and `result` redrawn, 0..1; null if all is void
    ],
    metadata={"maskloop.table": "predictions", "maskloop.version": "2"},
)

ASSIGNED_SCHEMA = pa.schema(
    [
        pa.field("task_id", pa.int64(), nullable=False),
        pa.field("image_sha256", pa.string(), nullable=False),
        pa.field("mask", pa.int32(), nullable=False),  # its number in the image's pickle, from 0
        pa.field("image_px", pa.int64(), nullable=False),
        pa.field("area_px", pa.int64(), nullable=False),
        pa.field("new_px", pa.int64(), nullable=False),  # that no larger mask of the image covers
        pa.field("class_index", pa.int32()),  # null: unassigned
        pa.field("by", pa.string()),  # human | detector | champion; null: unassigned
        pa.field("score", pa.float64()),  # IoU with the region, the detector's score, or the share of votes; 0..1
        pa.field("region_id", pa.string()),  # of the human region
        pa.field("human_px", pa.int64(), nullable=False),  # to which people gave a class
        pa.field("agreeing_px", pa.int64(), nullable=False),  # of those, with the mask's class
        pa.field("model_version", pa.string()),  # of the champion that voted; null: none did
        pa.field("inputs_sha256", pa.string(), nullable=False),  # of all that the task's rows were made from
    ],
    metadata={"maskloop.table": "assigned", "maskloop.version": "1"},
)

SAMPLE_SCORES_SCHEMA = pa.schema(
    [
        pa.field("task_id", pa.int64(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("mean_iu", pa.float64()),
        pa.field("pixel_accuracy", pa.float64()),
        pa.field("prediction", pa.string(), nullable=False),  # path of the predicted mask
    ],
    metadata={"maskloop.table": "sample_scores", "maskloop.version": "1"},
)
