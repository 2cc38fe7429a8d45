"""Work done ahead by threads, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")

AHEAD_PER_WORKER = 2


def prefetched(work: Callable[[Job], Result], jobs: Iterable[Job], workers: int) -> Iterator[Result]:
    """`map(work, jobs)`, by `workers` threads that stay a few jobs ahead; with 0 workers, when it is asked for.

    Closing the iterator, or an error in it, ends the threads after the jobs they are at.
    """
    if workers == 0:
        yield from map(work, jobs)
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="prefetch")
    ahead: deque[Future[Result]] = deque()
    try:
        for job in jobs:
            ahead.append(pool.submit(work, job))
            if len(ahead) > workers * AHEAD_PER_WORKER:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
