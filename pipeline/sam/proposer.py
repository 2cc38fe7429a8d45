"""Segment Anything as a proposer of pre-labels: what the detector finds with its class, then everything else."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from connectors.sam_pickle import Prelabel
from pipeline.sam.automatic import AutomaticOptions, MaskGenerator
from pipeline.sam.embeddings import EMBEDDINGS_DIR, EmbeddingCache
from pipeline.sam.model import Segmenter, load_segmenter
from pipeline.sam.outlining import outline
from pipeline.turns import images_in_turn
from schemas.params import Params

if TYPE_CHECKING:
    from pipeline.sam.detector import Detector


class SamProposer:
    """See `pipeline.propose.Proposer`. The networks are loaded for the first image. Best predicted IoU first."""

    in_parallel = False

    def __init__(self, params: Params, folder: Path) -> None:
        self._params = params.prelabel
        self._classes = params.classes
        self._folder = folder

    @property
    def name(self) -> str:
        """The model's version."""
        return self._segmenter.version

    def propose(self, image: NDArray[np.uint8], image_sha256: str) -> list[Prelabel]:
        """See Proposer."""
        embedding = self._embeddings.embedding(image_sha256, lambda: image)
        found: list[Prelabel] = []
        if self._detector is not None:
            found += outline(self._segmenter, embedding, self._detector.detect(image))
        if self._params.points_per_side:
            found += self._generator.generate(image, lambda _: embedding)
        return found

    @cached_property
    def _segmenter(self) -> Segmenter:
        return load_segmenter(self._params.model, self._params.device, self._params.precision)

    @cached_property
    def _embeddings(self) -> EmbeddingCache:
        disk_mb = self._params.embeddings_gb * 1024
        line = images_in_turn(self._folder)
        return EmbeddingCache(self._segmenter, self._folder / EMBEDDINGS_DIR, disk_mb, line=line)

    @cached_property
    def _generator(self) -> MaskGenerator:
        names = {option.name for option in dataclasses.fields(AutomaticOptions)}
        options = {name: value for name, value in self._params if name in names and value is not None}
        return MaskGenerator(self._segmenter, AutomaticOptions(**options))

    @cached_property
    def _detector(self) -> Detector | None:
        if self._params.detector is None:
            return None
        from pipeline.sam.detector import Detector  # needs transformers, of which load_segmenter says how to get it

        phrases = [(phrase, entry.name) for entry in self._classes for phrase in (entry.name, *entry.synonyms)]
        return Detector(self._params.detector, phrases, self._params.detector_threshold, self._segmenter.device)
