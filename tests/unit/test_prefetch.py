"""Work done ahead keeps its order, its errors, and no thread."""

import threading
import time

import pytest

from pipeline.prefetch import prefetched


def threads():
    return [each for each in threading.enumerate() if each.name.startswith("prefetch_")]


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_results_come_in_order(workers):
    def work(job):
        time.sleep(0.002 * (job % 3))
        return job * job

    assert list(prefetched(work, range(40), workers)) == [job * job for job in range(40)]
    assert not threads()


def test_it_stays_only_a_little_ahead():
    done = []
    results = prefetched(done.append, range(1000), 2)
    next(results)
    time.sleep(0.05)
    assert len(done) <= 6
    results.close()
    assert not threads()


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_comes_where_its_result_would(workers):
    results = prefetched(lambda job: 1 / (3 - job), range(9), workers)
    assert [next(results) for _ in range(3)] == [1 / 3, 1 / 2, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert not threads()
