from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given

from decoder.normalisation import CLIP, LOG_FLOOR, Normalisation, fit_normalisation
from firmware_bridge.errors import NervehandError, StreamMismatchError
from tests.decoder.chunks import assert_cut, random_cuts


def rows(n: int = 400, f: int = 3) -> Any:
    return np.exp(np.random.default_rng(0).standard_normal((n, f)) * 0.4 + 2).astype(np.float32)


def unmasked(x: Any) -> Any:
    return np.zeros(x.shape, bool)


def test_training_rows_become_mean_0_and_deviation_1_in_every_compression() -> None:
    x = rows()
    z = fit_normalisation(x, unmasked(x), ("none", "log", "root")).apply(x, unmasked(x))
    assert z.dtype == np.float32
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(z.std(axis=0), 1, atol=1e-5)


def test_each_compression_is_its_formula() -> None:
    x = np.array([[-4.0, -4.0, -4.0], [9.0, 9.0, 9.0]], np.float32)
    z = Normalisation(np.zeros(3, np.float32), np.ones(3, np.float32), 100.0, ("none", "log", "root")).apply(
        x, unmasked(x)
    )
    np.testing.assert_allclose(z, [[-4, np.log(LOG_FLOOR), -2], [9, np.log(9), 3]], rtol=1e-6)


def test_a_masked_feature_becomes_the_training_mean() -> None:
    x = rows()
    mask = unmasked(x)
    mask[7, 1] = True
    z = fit_normalisation(x, unmasked(x), ("none",) * 3).apply(x, mask)
    assert z[7, 1] == 0
    assert (z[7, [0, 2]] != 0).all()


def test_masked_rows_do_not_enter_the_fit() -> None:
    x = rows()
    spoilt, mask = x.copy(), unmasked(x)
    spoilt[::3, 1], mask[::3, 1] = np.nan, True
    fitted = fit_normalisation(spoilt, mask, ("none",) * 3)
    kept = np.delete(x[:, 1], np.s_[::3]).astype(np.float64)
    assert fitted.mean[1] == pytest.approx(kept.mean(), rel=1e-6)
    assert fitted.scale[1] == pytest.approx(kept.std(), rel=1e-6)


@pytest.mark.parametrize("value", [0.0, 3.3, 1e6])
def test_a_column_that_never_varied_is_always_the_mean(value: float) -> None:
    x = rows()
    x[:, 2] = value
    fitted = fit_normalisation(x, unmasked(x), ("none",) * 3)
    assert fitted.scale[2] == 0
    assert (fitted.apply(rows(), unmasked(x))[:, 2] == 0).all()


def test_a_column_that_was_always_masked_is_the_mean() -> None:
    x = rows()
    mask = unmasked(x)
    mask[:, 0] = True
    assert (fit_normalisation(x, mask, ("log",) * 3).apply(x, unmasked(x))[:, 0] == 0).all()


def test_far_values_are_clipped() -> None:
    x = rows()
    fitted = fit_normalisation(x, unmasked(x), ("none",) * 3)
    far = np.array([[1e9, -1e9, 3e38]], np.float32)
    assert fitted.apply(far, unmasked(far)).tolist() == [[CLIP, -CLIP, CLIP]]


@given(cuts=random_cuts(60))
def test_any_cut_gives_the_same_bits(cuts: list[int]) -> None:
    x = rows(60)
    fitted = fit_normalisation(x, unmasked(x), ("none", "log", "root"))
    assert_cut(lambda: lambda f, m, first: (fitted.apply(f, m),), [x, x > 12], cuts)


def test_what_does_not_fit_together_is_refused() -> None:
    x = rows()
    with pytest.raises(NervehandError, match="no training row"):
        fit_normalisation(x[:0], unmasked(x[:0]), ("none",) * 3)
    with pytest.raises(NervehandError, match="2 compressions"):
        fit_normalisation(x, unmasked(x), ("none",) * 2)
    with pytest.raises(NervehandError, match="not finite"):
        fit_normalisation(np.full_like(x, np.nan), unmasked(x), ("none",) * 3)
    with pytest.raises(NervehandError, match="'exp'"):
        fit_normalisation(x, unmasked(x), ("none", "none", "exp"))  # type: ignore[arg-type]  # the point
    one = np.ones(1, np.float32)
    with pytest.raises(NervehandError, match="scale below 0"):
        Normalisation(one, -one, CLIP, ("none",))
    with pytest.raises(NervehandError, match="clips at 0"):
        Normalisation(one, one, 0.0, ("none",))
    with pytest.raises(StreamMismatchError, match=r"\(400, 3\).*1 columns"):
        Normalisation(one, one, CLIP, ("none",)).apply(x, unmasked(x))
