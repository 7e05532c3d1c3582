"""A run that is killed (SIGKILL) again and again ends as one that was not, to the bit.

One warm child process, with the package imported, forks a process for each run; forking the test process itself
would not do, since it has used threads.
"""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from tests.training.runs import require_equal, weights

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

ROOT = Path(__file__).parents[2]
STEPS = 6
KILLS = 6
NURSERY = """
import os, signal, sys, time
from types import SimpleNamespace
from m2l2_mir.training import loop
from tests.training.runs import Tones, recipe

loop.SAVE_SECONDS, loop.LOG_EVERY = 0.0, 1  # told of, then saved, after every step
speed = SimpleNamespace(add=lambda *_: None, row=lambda: {"times_real_time": 1.0, "share_of_peak": 1.0})
loop.Throughput = lambda *_: speed  # counting takes longer than the run
print("ready", flush=True)
for line in sys.stdin:
    count, share, steps, folder = line.rstrip().split("|")
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            resume = os.path.exists(os.path.join(folder, "state.safetensors"))
            options = dict(resume=resume, device="cpu", say=lambda line: os.write(writing, b"."))
            loop.train(recipe(steps=int(steps)), Tones(), folder, **options)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    os.close(writing)
    told = [time.perf_counter()]
    while os.read(reading, 1):
        told.append(time.perf_counter())
        if len(told) - 1 == int(count):
            time.sleep(float(share) * (told[-1] - told[-2]))
            os.kill(child, signal.SIGKILL)
            break
    os.close(reading)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""

Run = Callable[..., int]


@pytest.fixture
def run() -> Iterator[Run]:
    """Train in a folder, killed a share of a step after it has told so many lines (0: not); -> its exit code."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    with subprocess.Popen(
        [sys.executable, "-c", NURSERY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
        env=environment,
    ) as nursery:
        assert nursery.stdin is not None
        assert nursery.stdout is not None
        assert nursery.stdout.readline() == "ready\n"

        def run(folder: Path, lines: int = 0, share: float = 0.0) -> int:
            print(f"{lines}|{share}|{STEPS}|{folder}", file=nursery.stdin, flush=True)
            return int(nursery.stdout.readline())

        yield run
        nursery.stdin.close()


def steps_done(folder: Path) -> int:
    """Of the state in a run's folder; 0 where there is none yet."""
    if not (folder / "state.safetensors").exists():
        return 0
    with safe_open(folder / "state.safetensors", framework="pt") as file:
        return int(file.metadata()["step"])


def test_killed_until_it_is_done(run: Run, tmp_path: Path) -> None:
    assert run(tmp_path / "whole") == 0
    whole = weights(tmp_path / "whole")
    # from one step's end to the next one's: in what is written, and in what is computed
    shares = np.random.default_rng(0).permutation(np.linspace(0, 1, KILLS)).tolist()
    runs = between = 0
    while True:
        folder = tmp_path / str(runs)
        before = steps_done(folder)
        code = run(folder, 2, shares.pop()) if shares else run(folder)
        assert code in (0, -signal.SIGKILL)
        assert before <= steps_done(folder)
        between += code != 0 and 0 < steps_done(folder) < STEPS
        if code:
            continue
        require_equal(weights(folder), whole, atol=0)
        with open(folder / "metrics.csv", newline="") as file:
            assert [int(row["step"]) for row in csv.DictReader(file)] == list(range(1, STEPS + 1))
        if not shares:
            break
        runs += 1
    assert between >= KILLS / 2  # the kills did hit the work, and not only its ends
