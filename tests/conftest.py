"""What all tests share."""

import os
import sys
from pathlib import Path

# Read once, when the first OpenMP library is loaded: on few or busy cores, threads that wait for each other crawl.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest


@pytest.fixture
def rng() -> np.random.Generator:
    """Numbers that are the same in every run, whichever tests ran before."""
    return np.random.default_rng(20250117)


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rendered clips and parsed scores go to a folder of the test run, never to the user's cache."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["M2L2_CACHE"] = str(folder)
    return folder


@pytest.fixture
def m2l2(monkeypatch, capsys):
    """Run the command in this process -> exit code, standard output, standard error."""

    from m2l2_mir import cli

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["m2l2", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        printed = capsys.readouterr()
        return end.value.code or 0, printed.out, printed.err

    return run
