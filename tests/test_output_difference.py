"""Metrics of raw outputs against the obvious formulas."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from benchmarks.output_difference import DifferenceSums

VALUES = st.floats(-1e3, 1e3, width=32, allow_subnormal=False)


def difference_of(*pairs):
    sums = DifferenceSums()
    for reference, other in pairs:
        sums.add(np.float32(reference), np.float32(other))
    return sums.difference()


@given(
    arrays(np.float32, (3, 2, 5), elements=VALUES), arrays(np.float32, (3, 2, 5), elements=VALUES)
)
@settings(max_examples=100, deadline=None)
def test_sums_over_pictures_are_the_formulas_over_all_elements(reference, other):
    found = difference_of(*zip(reference, other, strict=True))
    a = [float(value) for value in reference.ravel()]
    b = [float(value) for value in other.ravel()]
    errors = [abs(y - x) for x, y in zip(a, b, strict=True)]
    assert found.max_abs == max(errors)
    assert found.mean_abs == pytest.approx(math.fsum(errors) / 30)
    assert found.rmse == pytest.approx(math.sqrt(math.fsum(e * e for e in errors) / 30))
    lengths = math.hypot(*a) * math.hypot(*b)
    if lengths and any(errors):
        product = math.fsum(x * y for x, y in zip(a, b, strict=True))
        assert found.cosine == pytest.approx(product / lengths, abs=1e-9)
        ratio = math.fsum(x * x for x in a) / math.fsum(e * e for e in errors)
        assert found.sqnr_db == pytest.approx(10 * math.log10(ratio), abs=1e-6)


def test_a_case_by_hand():
    found = difference_of(([3.0, 4.0], [3.0, 3.0]))
    assert found.max_abs == 1.0
    assert found.mean_abs == 0.5
    assert found.rmse == pytest.approx(math.sqrt(0.5))
    assert found.cosine == pytest.approx((9 + 12) / (5 * math.sqrt(18)))
    assert found.sqnr_db == pytest.approx(10 * math.log10(25))


def test_equal_outputs_have_infinite_sqnr_and_cosine_one():
    found = difference_of(([0.1, -0.2], [0.1, -0.2]))
    assert (found.max_abs, found.cosine, found.sqnr_db) == (0.0, 1.0, math.inf)


def test_outputs_of_zeros():
    assert difference_of(([0.0], [0.0])).cosine == 1.0
    found = difference_of(([0.0], [1.0]))
    assert (found.cosine, found.sqnr_db) == (0.0, -math.inf)


def test_add_gives_the_largest_difference_of_that_picture():
    sums = DifferenceSums()
    assert sums.add(np.zeros(2), np.array([1.0, -5.0])) == 5.0
    assert sums.add(np.zeros(2), np.array([1.0, 2.0])) == 2.0
    assert sums.difference().max_abs == 5.0


def test_nothing_and_other_shapes_are_refused():
    with pytest.raises(ValueError, match="no outputs"):
        DifferenceSums().difference()
    with pytest.raises(ValueError, match=r"shapes \(2,\) and \(3,\)"):
        DifferenceSums().add(np.zeros(2), np.zeros(3))
