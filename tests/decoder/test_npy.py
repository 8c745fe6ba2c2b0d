"""Arrays from files that may come from anywhere."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from decoder.npy import read_npy


def saved(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def read(content: bytes) -> np.ndarray:
    return read_npy(io.BytesIO(content), len(content))


@given(arrays(st.sampled_from(["<i2", "<f4", ">f8", "|b1", "<U3"]), array_shapes(min_dims=0, min_side=0)))
@settings(max_examples=50, deadline=None)
def test_what_numpy_saves_is_read(array: np.ndarray) -> None:
    for order in (array, np.asfortranarray(array)):
        found = read(saved(order))
        assert (found.dtype, found.shape) == (order.dtype, order.shape)
        assert found.tobytes() == order.tobytes()


def test_a_header_that_claims_more_than_is_there_is_refused_before_it_is_believed() -> None:
    content = saved(np.zeros(100))
    for claimed in (b"(999,)", b"(-10,)", b"(9, 9)"):
        with pytest.raises(ValueError, match=r"does not take|more than"):
            read(content.replace(b"(100,)", claimed))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"'shape': (", b"'shape': ('"),
        (b"{'descr'", b"{'desc\\'"),
        (b"<f8", b"<z8"),
        (b"\x93NUMPY", b"\x93NUMPX"),
    ],
)
def test_a_damaged_header_is_said(old: bytes, new: bytes) -> None:
    with pytest.raises(ValueError, match=r"no (header of an )?array"):
        read(saved(np.zeros(100)).replace(old, new))


def test_values_that_are_missing_or_too_many_are_said() -> None:
    content = saved(np.zeros(100))
    with pytest.raises(ValueError, match=r"does not take|missing"):
        read(content[:-200])
    with pytest.raises(ValueError, match="missing"):
        read_npy(io.BytesIO(content[:-1]), len(content))
    with pytest.raises(ValueError, match="more than"):
        read(content + b"x")


def test_objects_are_refused() -> None:
    with pytest.raises(ValueError, match="Object arrays"):
        read(saved(np.array([{}])))
