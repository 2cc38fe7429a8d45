"""Interleaved rounds: what all share, such as other work on the machine, falls on each alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping


def medians(jobs: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each job over `rounds`, all of them once a round, after one round that counts for nothing."""
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for counts in (False, *[True] * rounds):
        for name, job in jobs.items():
            start = time.perf_counter()
            job()
            if counts:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(taken) for name, taken in seconds.items()}
