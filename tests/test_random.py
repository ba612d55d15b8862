from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import nnrs
from nnrs import random
from nnrs.random import resolve_seed


@pytest.fixture(autouse=True)
def _no_default_left():
    before = random._defaults
    yield
    random._defaults = before


def test_given_seed_is_kept():
    assert resolve_seed(0) == 0
    assert resolve_seed(np.int32(5)) == 5
    assert resolve_seed(2**64 - 1) == 2**64 - 1


def test_without_manual_seed_entropy_comes_from_the_system(monkeypatch):
    monkeypatch.setattr(random, "_defaults", None)
    drawn = {resolve_seed(None) for _ in range(100)}
    assert len(drawn) == 100
    assert all(0 <= seed < 2**53 for seed in drawn)


def test_manual_seed_repeats_and_moves_on():
    nnrs.manual_seed(7)
    first = [resolve_seed(None) for _ in range(5)]
    nnrs.manual_seed(7)
    assert [resolve_seed(None) for _ in range(5)] == first
    assert len(set(first)) == 5
    nnrs.manual_seed(8)
    assert resolve_seed(None) not in first


def test_split_mix_golden_values():
    # First outputs of SplitMix64 from 0 (its published test vector), their upper 53 bits.
    nnrs.manual_seed(0)
    full = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert [resolve_seed(None) for _ in range(3)] == [value >> 11 for value in full]


def test_manual_seed_gives_every_thread_its_own():
    nnrs.manual_seed(1)
    with ThreadPoolExecutor(8) as pool:
        drawn = list(pool.map(lambda _: resolve_seed(None), range(500)))
    assert len(set(drawn)) == 500
    nnrs.manual_seed(1)
    assert {resolve_seed(None) for _ in range(500)} == set(drawn)


@pytest.mark.parametrize("seed", [True, 1.0, "1", [1]])
def test_seed_of_wrong_type(seed):
    with pytest.raises(TypeError, match="seed must be an int"):
        resolve_seed(seed)
    with pytest.raises(TypeError, match="seed must be an int"):
        nnrs.manual_seed(seed)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seed_out_of_range(seed):
    with pytest.raises(ValueError, match=r"seed must be at least 0 and below 2\*\*64"):
        resolve_seed(seed)


def test_numpys_random_streams_are_left_alone():
    def results():
        x, y = nnrs.datasets.moons(20, seed=1)
        parts = nnrs.data.train_test_split(x, y, seed=0, stratify=y)
        return [x, *parts, *next(iter(nnrs.data.batches(x, y, 5, seed=0)))]

    np.random.seed(0)  # noqa: NPY002 - the legacy stream is what must not matter
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first = results()
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    np.random.seed(1)  # noqa: NPY002
    for one, two in zip(first, results(), strict=True):
        np.testing.assert_array_equal(one, two)
