import pytest

from connectors.batches import batches


@pytest.mark.parametrize(
    ("sizes", "most", "most_bytes", "expected"),
    [
        ([], 2, 10, []),
        ([1, 1, 1, 1, 1], 2, 10, [[1, 1], [1, 1], [1]]),  # limited in number
        ([4, 4, 4, 4], 9, 10, [[4, 4], [4, 4]]),  # limited in bytes
        ([5, 5, 1], 9, 10, [[5, 5], [1]]),  # exactly full
        ([1, 99, 1, 1], 9, 10, [[1], [99], [1, 1]]),  # too large for any batch: alone
        ([99], 9, 10, [[99]]),
        ([0, 0, 0], 2, 0, [[0, 0], [0]]),
    ],
)
def test_batches_keep_the_order_and_both_limits(sizes, most, most_bytes, expected):
    assert list(batches(iter(sizes), most, most_bytes, size_of=int)) == expected


def test_nothing_is_read_ahead_of_the_batch_that_is_full():
    source = iter(range(100))
    next(batches(source, 3, 10**6, size_of=int))
    assert next(source) == 4  # the first of the next batch is in hand
