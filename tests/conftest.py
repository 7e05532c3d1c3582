"""What all tests share."""

import os

# Read once, when the first OpenMP library is loaded: on few or busy cores, threads that wait for each other crawl.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest


@pytest.fixture
def rng() -> np.random.Generator:
    """Numbers that are the same in every run, whichever tests ran before."""
    return np.random.default_rng(20250117)
