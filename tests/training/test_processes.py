"""Several processes: the same result as one, whatever their clocks say, and one corpus for all."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import m2l2_mir as mm
from m2l2_mir.audio import save
from m2l2_mir.training.building import build_corpus
from m2l2_mir.training.loop import train
from tests.training.runs import Tones, recipe, require_equal, weights
from tests.training.tones import RATE

ROOT = Path(__file__).parents[2]


def two_processes(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path, **environment}
    done = subprocess.run([*torchrun, *command], env=variables, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return done


def last_row(table: Path) -> dict[str, str]:
    with open(table, newline="") as file:
        return list(csv.DictReader(file))[-1]


def test_two_processes_equal_one_with_the_doubled_batch(tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    # one process saves after every step, the other never; one stops after the first step, and the other has to follow
    script.write_text(
        "import os, sys\n"
        "from m2l2_mir.training import loop\n"
        "from tests.training.runs import Tones, recipe\n"
        "first = os.environ['RANK'] == '0'\n"
        "loop.SAVE_SECONDS = 0.0 if first else 1e9\n"
        "for resume, minutes in ((False, 0.0 if first else 9.0), (True, None)):\n"
        "    options = {'resume': resume, 'max_minutes': minutes, 'device': 'cpu'}\n"
        "    loop.train(recipe(batch_size=4), Tones(), sys.argv[1], **options)\n"
        "loop.part()\n"
    )
    two_processes(script, tmp_path / "two")
    stretches = json.loads((tmp_path / "two" / "run.json").read_text())["stretches"]
    assert [(stretch["from_step"], stretch["to_step"]) for stretch in stretches] == [(0, 1), (1, 6)]
    train(recipe(batch_size=4), Tones(), tmp_path / "one", device="cpu")
    require_equal(weights(tmp_path / "one"), weights(tmp_path / "two"), atol=1e-5)
    one, two = (last_row(tmp_path / name / "metrics.csv") for name in ("one", "two"))
    for column in ("total", "consistency", "explicit_bands", "bounded_std"):  # of both halves of the batch
        assert float(one[column]) == pytest.approx(float(two[column]), rel=1e-4)


def test_a_process_that_waits_opens_what_another_has_built(library: Path) -> None:
    options: dict[str, Any] = {"sample_rate": RATE, "cache": library.parent / "cache", "jobs": 1}
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(build_corpus, [library], wait=True, **options)
        time.sleep(0.5)
        assert not waiting.done()
        built = build_corpus([library], **options)
        assert waiting.result(timeout=60).key == built.key


def test_the_first_process_builds_the_corpus_and_the_others_open_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "music" / "one").mkdir(parents=True)
    for name in ("a.wav", "b.wav"):
        save(tmp_path / "music" / "one" / name, rng.normal(scale=0.1, size=(1, 5 * 44100)), 44100)
    (tmp_path / "my.toml").write_text(
        'name = "two"\nmodel = "m2l2-tiny"\nsteps = 2\nbatch_size = 2\nwarmup_steps = 1\nexplicit_weight = 1.0\n'
    )
    m2l2 = Path(sys.executable).with_name("m2l2")
    options = ["--data", tmp_path / "music", "--out", tmp_path / "run", "--device", "cpu", "--max-minutes", "1e-9"]
    done = two_processes("--no-python", m2l2, "train", tmp_path / "my.toml", *options, M2L2_CACHE=str(tmp_path / "c"))
    assert done.stdout.count("2 pieces") == 1  # one of them speaks
    assert "step 1 of 2; go on with --resume" in done.stdout
    assert mm.load_model(tmp_path / "run" / "weights.safetensors", device="cpu").trained
