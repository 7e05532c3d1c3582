"""How often the probes see a difference where there is none, and how often their intervals hold the truth.

Two rows that are equal by construction are compared as `m2l2 probe run` does it: the linear read-out, folds by group, 5
seeds x 5 folds, the paired test over groups. Tracks come in groups of 1 to 7 that are of one class and alike; classes
are 4. Drawn anew in each repeat are the tracks, so that other tracks to learn from are part of the question. Rows:

  noise        two sets of 16 numbers without the class: both are at chance
  features     two sets of 16 numbers with the class, equally clear in both
  projections  two random projections of the same 64 numbers, drawn anew for each seed, as untrained encoders are

Stated for each number of tracks: the share of p < .05, which should be 5 %, and the share of 95 % intervals of a row's
accuracy that hold its mean over all repeats; with the fits taken as given, and as the probes do it.

A statistic that is no mean is tried apart, without read-outs: macro F1 of labels guessed right with a chance of .2 to
.9 by class, and the share of its 95 % intervals that hold that of all tracks.

    python benchmarks/probe_statistics.py
    python benchmarks/probe_statistics.py --quick
"""

from __future__ import annotations

import warnings
from typing import Any

import joblib
import numpy as np
import pandas as pd
from _common import argument_parser, cores, machine, table, verdict, write_results
from numpy.typing import NDArray
from scipy import stats

from m2l2_mir.dataset.recipe import SplitRecipe
from m2l2_mir.dataset.split import make_manifest
from m2l2_mir.errors import SplitWarning
from m2l2_mir.probe.comparison import compare_rows, score_rows
from m2l2_mir.probe.fitting import FoldItems, fit_folds
from m2l2_mir.probe.statistics import bootstrap_statistic
from m2l2_mir.probe.task import Task

KINDS = ("noise", "features", "projections")
TRACKS = {60: 1.0, 200: 1.0, 1000: 0.5}  # to the share of the repeats that is made
CLASSES, LATENTS, WIDTH, LARGEST_GROUP = 4, 64, 16, 7
SEEDS, FOLDS, DRAWS = 5, 5, 1000
CLARITY, ALIKE = 1.0, 0.3  # spread of class means in all; share of a track's variance that is its group's
WAYS = {"fits as given": None, "as the probes do": 1.0}  # to `tested_per_trained`
MACRO = ((24, 120), (24, 400), (8, 120))  # classes and tracks
MOST = 0.08  # of p < .05, that still counts as 5 %


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--repeats", type=int, default=200, help="of each kind (default: 200; half with 1,000 tracks)")
    options = parser.parse_args()
    facts = machine()
    tracks = {60: 1.0} if options.quick else TRACKS
    repeats = 4 if options.quick else options.repeats
    cases = [
        (kind, number, repeat)
        for number, share in tracks.items()
        for kind in KINDS
        for repeat in range(round(share * repeats))
    ]
    lines = joblib.Parallel(n_jobs=cores())(joblib.delayed(simulate)(*case) for case in cases)
    found = summarise(pd.DataFrame([line for case in lines for line in case]))
    sizes = MACRO[:1] if options.quick else MACRO
    macro = joblib.Parallel(n_jobs=cores())(joblib.delayed(macro_f1)(*size, repeats) for size in sizes)
    write_results(options, facts, {"cases": found, "macro_f1": macro}, summary(found, macro))


def simulate(kind: str, tracks: int, repeat: int) -> list[dict[str, Any]]:
    """Draw one data set, probe both rows, and compare them in both ways."""
    rng = np.random.default_rng([KINDS.index(kind), tracks, repeat])
    groups = np.repeat(np.arange(tracks), rng.integers(1, LARGEST_GROUP + 1, tracks))[:tracks]
    labels = rng.permutation(np.arange(groups.max() + 1) % CLASSES)[groups]
    names = np.array([f"t{number:04}" for number in range(tracks)])
    items = pd.DataFrame({"track_id": names, "genre": labels.astype(str), "group": groups.astype(str)})
    task, right = Task(metrics="genre", regression=False), []
    rows = {row: _vectors(kind, rng, groups, labels) for row in ("one", "other")}
    shared = _latents(rng, groups, labels, LATENTS)
    for seed in range(SEEDS):
        if kind == "projections":
            rows = {row: shared @ rng.normal(size=(LATENTS, WIDTH)) for row in rows}
        folds = _folds(items, seed)
        for row, vectors in rows.items():
            told = fit_folds(
                vectors.astype(np.float32), items["genre"].to_numpy(), groups, folds, np.unique(items["genre"]), task,
                "linear", seed=seed,
            )  # fmt: skip
            of_row = items.iloc[told.items].assign(row=row, seed=seed)
            right.append(of_row.assign(accuracy=(told.estimates == of_row["genre"]).astype(float)))
    scores = pd.concat(right, ignore_index=True)
    lines = []
    for way, ratio in WAYS.items():
        compared = compare_rows(scores, "one", "accuracy", tested_per_trained=ratio, draws=DRAWS).iloc[0]
        own = score_rows(scores, "accuracy", tested_per_trained=ratio, bounds=(0, 1), draws=DRAWS).iloc[0]
        lines.append(
            {
                "kind": kind,
                "tracks": tracks,
                "way": way,
                "difference": compared["difference"],
                "p": compared["p"],
                "width": compared["high"] - compared["low"],
                **own[["estimate", "low", "high"]],
            }
        )
    return lines


def _vectors(kind: str, rng: np.random.Generator, groups: NDArray[Any], labels: NDArray[Any]) -> NDArray[np.float64]:
    return _latents(rng, groups, labels if kind == "features" else np.zeros_like(labels), WIDTH)


def _latents(rng: np.random.Generator, groups: NDArray[Any], labels: NDArray[Any], width: int) -> NDArray[np.float64]:
    """Class means, the same in all repeats, and what is particular to groups and to tracks: [tracks, width]."""
    means = CLARITY * np.random.default_rng(width).normal(size=(CLASSES, width)) * np.sqrt(2 / width)
    of_group = rng.normal(size=(groups.max() + 1, width))[groups]
    of_track = rng.normal(size=(len(groups), width))
    return means[labels] + np.sqrt(ALIKE) * of_group + np.sqrt(1 - ALIKE) * of_track


def _folds(items: pd.DataFrame, seed: int) -> list[FoldItems]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SplitWarning)  # of 15 groups, classes are missing from some folds
        manifest = make_manifest(
            items,
            pd.DataFrame(columns=["track_id", "label", "reason"]),
            dataset="simulated",
            label="genre",
            split_name="grouped",
            split=SplitRecipe(folds=FOLDS),
            seed=seed,
        )
    place = pd.Index(items["track_id"])
    return [
        FoldItems(
            name=part.name, train=place.get_indexer(pd.Index(part.train)), test=place.get_indexer(pd.Index(part.test))
        )
        for part in manifest.rotations()
    ]


def summarise(lines: pd.DataFrame) -> list[dict[str, Any]]:
    """Shares of each case, with the exact 95 % interval of the share of p < .05 over repeats."""
    found = []
    for (tracks, kind), case in lines.groupby(["tracks", "kind"], sort=False):
        truth = case["estimate"].mean()
        line: dict[str, Any] = {"tracks": tracks, "kind": kind, "accuracy": truth, "repeats": len(case) // len(WAYS)}
        for way, part in case.groupby("way", sort=False):
            false = int((part["p"] < 0.05).sum())
            exact = stats.binomtest(false, len(part)).proportion_ci()
            line[str(way)] = {
                "false": false / len(part),
                "low": exact.low,
                "high": exact.high,
                "held": float(part["low"].le(truth).mul(part["high"].ge(truth)).mean()),
                "width": float(part["width"].mean()),
            }
        found.append(line)
    return found


def macro_f1(classes: int, tracks: int, repeats: int) -> dict[str, Any]:
    """How often intervals of macro F1 hold that of half a million tracks."""
    rng = np.random.default_rng([classes, tracks])
    right = np.linspace(0.2, 0.9, classes)
    function = Task(metrics="genre", regression=False).statistics["macro_f1"]

    def sample(number: int) -> pd.DataFrame:
        labels = rng.integers(classes, size=number)
        guessed = np.where(rng.random(number) < right[labels], labels, rng.integers(classes, size=number))
        return pd.DataFrame({"reference": labels, "estimated": guessed})

    truth = function(sample(500_000))
    intervals = [bootstrap_statistic(function, sample(tracks), bounds=(0, 1), draws=500) for _ in range(repeats)]
    held = [one.low <= truth <= one.high for one in intervals]
    return {
        "classes": classes,
        "tracks": tracks,
        "repeats": repeats,
        "truth": truth,
        "mean": float(np.mean([one.estimate for one in intervals])),
        "held": float(np.mean(held)),
    }


def summary(found: list[dict[str, Any]], macro: list[dict[str, Any]]) -> str:
    """Say it for a person."""
    given, done = WAYS
    cells = [
        [
            line["tracks"],
            line["kind"],
            f"{line['accuracy']:.2f}",
            line["repeats"],
            *(
                f"{100 * line[way]['false']:.1f} ({100 * line[way]['low']:.1f}-{100 * line[way]['high']:.1f})"
                for way in WAYS
            ),
            *(f"{100 * line[way]['held']:.1f}" for way in WAYS),
            f"{line[done]['width'] / line[given]['width']:.2f}",
        ]
        for line in found
    ]
    worst = max(line[done]["low"] for line in found)
    return (
        "Two equal rows compared by the paired test of the probes. Goal: p < .05 in no more than 8 % of the repeats, "
        f"as far as these tell: {verdict(worst <= MOST)}.\n\n"
        + table(
            [
                "tracks",
                "rows",
                "accuracy",
                "repeats",
                *(f"p < .05, {way} (%)" for way in WAYS),
                *(f"95 % interval of the accuracy holds, {way} (%)" for way in WAYS),
                "interval, times as wide",
            ],
            cells,
        )
        + "\n\nMacro F1:\n\n"
        + table(
            ["classes", "tracks", "repeats", "truth", "mean estimate", "95 % interval holds (%)"],
            [
                [
                    *(line[key] for key in ("classes", "tracks", "repeats")),
                    *(f"{line[key]:.3f}" for key in ("truth", "mean")),
                    f"{100 * line['held']:.1f}",
                ]
                for line in macro
            ],
        )
    )


if __name__ == "__main__":
    main()
