"""Slot scores with their nulls against a loop over scikit-learn fits on the same problem.

A made problem: clips x slots of 64 numbers, factors of 2 to 12 classes, 5 folds of whole groups. Ours is
`m2l2_mir.disentangle.information.Probes`: nested selection of the penalty, for the labels and for permutations of them.
The peer does the same with `LogisticRegression`: for each slot, factor and fold the penalties are tried on the other
folds in turn, and the best one is fitted again. Both use one thread. The ratio is of processor times for one set of
labels (slots x factors x folds, all fits), and for permutations, where the peer's time is that of one set of labels
times their number: it has nothing to share between them. Besides, how far the information that the two read differs.
Goal: several times as fast.

Measured beside it, of slots made up at the sizes of the default set (`SIZES`; 8 x 64, its factors, 100 pairs each):
slot scores (P1) and counterfactual scores (P2) with full nulls (50 rotations, 200 permutations), which together are
what one model takes but for its embeddings. Goal: under 15 minutes on two cores. And the metrics of single dimensions,
which only `--full` asks for: each is taken once, which its nulls and its interval repeat; the time of all is that times
their number, and not measured.

    python benchmarks/disentangle_speed.py
    python benchmarks/disentangle_speed.py --quick
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter, process_time
from typing import Any

import numpy as np
from _common import argument_parser, machine, ratios, spread, table, verdict, write_results
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from m2l2_mir.dataset.rendered.factors import FACTORS
from m2l2_mir.disentangle.blocks import ANALYSED, TITLES
from m2l2_mir.disentangle.counterfactual import counterfactual_evidence
from m2l2_mir.disentangle.dimension_lines import CLASSICS
from m2l2_mir.disentangle.factors import Column, read_factors
from m2l2_mir.disentangle.information import PENALTIES, Probes, dealt, information
from m2l2_mir.disentangle.nulls import CLASSIC_NULLS, Nulls, permuted_rows
from m2l2_mir.disentangle.slots import slot_scores

CLASSES = (6, 3, 5, 4, 2, 12, 2, 6, 12, 8, 4, 4)
FOLDS = 5
PERMUTATIONS = 20  # timed
SIZES = {1: 4000, 8: 1500}  # clips of so many chunks in the default set `factors`
PAIRS = 100  # of a factor
REPEATED = 1 + CLASSIC_NULLS.rotations + CLASSIC_NULLS.permutations + 10  # with the blocks of the jackknife


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--repeats", type=int, default=1, help="timed pairs (default: 1)")
    parser.add_argument("--peer-slots", type=int, default=1, help="slots that the peer is timed on (default: 1)")
    parser.add_argument("--clips", type=int, default=4000, help="default: 4000")
    options = parser.parse_args()
    clips, slots, width = (300, 2, 8) if options.quick else (options.clips, 8, 64)
    classes = CLASSES[:2] if options.quick else CLASSES
    repeats = 1 if options.quick else options.repeats
    nulls = Nulls(rotations=10, permutations=20) if options.quick else Nulls()
    facts = machine()
    codes, labels, groups = problem(clips, slots, width, classes)
    columns = read_factors(labels, items=clips)
    with threadpool_limits(1):  # more threads would wait for each other, above all in the peer's many small fits
        timed = [measure(codes, columns, groups, options.peer_slots) for _ in range(repeats)]
    results = {
        "clips": clips,
        "slots": slots,
        "width": width,
        "classes": classes,
        "repeats": timed,
        "full": {TITLES[chunks]: full(chunks, slots, width, nulls, quick=options.quick) for chunks in SIZES},
        "classics": single_dimensions(slots, width, quick=options.quick),
    }
    write_results(options, facts, results, summary(results))


def problem(clips: int, slots: int, width: int, classes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes [clips, slots, width] that hold every factor weakly in every slot, labels, groups of 16."""
    rng = np.random.default_rng(0)
    labels = np.stack([rng.integers(0, count, clips) for count in classes], axis=1)
    hidden = np.hstack([rng.normal(size=(count, 6))[labels[:, f]] for f, count in enumerate(classes)])
    codes = hidden @ rng.normal(size=(hidden.shape[1], slots * width)) / 15 + rng.normal(size=(clips, slots * width))
    return codes.reshape(clips, slots, width), labels, np.arange(clips) // 16


def full(chunks: int, slots: int, width: int, nulls: Nulls, *, quick: bool) -> dict[str, Any]:
    """Seconds of P1 and P2 with their nulls, of the clips of one length."""
    clips, classes = block(chunks, quick=quick)
    codes, labels, groups = problem(clips, slots, width, classes)
    pairs = np.tile(np.arange(len(classes)), 8 if quick else PAIRS)  # the factor that each changes
    before = codes[np.arange(len(pairs)) % clips]
    after = before + np.random.default_rng(1).normal(size=before.shape)
    return {
        "clips": clips,
        "factors": len(classes),
        "pairs": len(pairs),
        "P1": seconds(lambda: slot_scores(codes, labels, groups=groups, nulls=nulls)),
        "P2": seconds(
            lambda: counterfactual_evidence(
                before, after, pairs, reference=codes, groups=np.arange(len(pairs)) // 16, nulls=nulls
            )
        ),
    }


def single_dimensions(slots: int, width: int, *, quick: bool) -> dict[str, dict[str, float]]:
    """Seconds of each metric, taken once of the clips of one chunk."""
    clips, classes = block(1, quick=quick)
    codes, labels, groups = problem(clips, slots, width, classes)
    return {
        name: seconds(lambda metric=metric: metric(codes, labels, groups=groups, nulls=None))
        for name, metric in CLASSICS.items()
        if not (quick and name == "DCI-ES")  # half a minute at any size
    }


def block(chunks: int, *, quick: bool) -> tuple[int, tuple[int, ...]]:
    """Clips of one length, and the classes of the factors analysed in them."""
    classes = tuple(len(factor.values) for factor in FACTORS if ANALYSED[factor.name] == chunks)
    return (200, classes[:2]) if quick else (SIZES[chunks], classes)


def seconds(call: Callable[[], Any]) -> dict[str, float]:
    begun, cpu = perf_counter(), process_time()
    call()
    return {"seconds": perf_counter() - begun, "cpu_seconds": process_time() - cpu}


def measure(codes: np.ndarray, columns: list[Column], groups: np.ndarray, peer_slots: int) -> dict[str, Any]:
    """Processor seconds of both for one slot, and what they read from it."""
    begun = process_time()
    probes = Probes(codes.swapaxes(0, 1), dealt(groups, FOLDS))
    ours = np.stack([information(*probes.losses(column))[:, 0] for column in columns], axis=1)
    seconds = (process_time() - begun) / codes.shape[1]
    rng = np.random.default_rng(0)
    begun = process_time()
    for column in columns:
        probes.means(column, permuted_rows(column.codes, groups, PERMUTATIONS, rng))
    permuted = (process_time() - begun) / codes.shape[1] / PERMUTATIONS
    begun = process_time()
    theirs = np.array([[peer(codes[:, slot], column, groups) for column in columns] for slot in range(peer_slots)])
    return {
        "ours": seconds,
        "ours_permutation": permuted,
        "peer": (process_time() - begun) / peer_slots,
        "difference": float(np.abs(ours[:peer_slots] - theirs).max()),
    }


def peer(code: np.ndarray, column: Column, groups: np.ndarray) -> float:
    """Information that logistic regression reads, with the same nesting."""
    y, losses, baseline = column.codes, [], []
    for training, held_out in GroupKFold(FOLDS).split(code, y, groups):
        scaler = StandardScaler().fit(code[training])
        X = scaler.transform(code)
        splits = [
            (training[part], training[rest])
            for part, rest in GroupKFold(FOLDS - 1).split(training, groups=groups[training])
        ]
        scores = [sum(log_loss(X, y, *split, penalty).sum() for split in splits) for penalty in PENALTIES]
        losses.append(log_loss(X, y, training, held_out, PENALTIES[int(np.argmin(scores))]))
        shares = np.bincount(y[training], minlength=column.classes) / len(training)
        baseline.append(-np.log(shares[y[held_out]]))
    return information(np.concatenate(losses), np.concatenate(baseline)).item()


def log_loss(X: np.ndarray, y: np.ndarray, training: np.ndarray, held_out: np.ndarray, penalty: float) -> np.ndarray:
    """Of held-out items."""
    model = LogisticRegression(C=1 / (len(training) * penalty), max_iter=200).fit(X[training], y[training])
    return -model.predict_log_proba(X[held_out])[np.arange(len(held_out)), y[held_out]]


def summary(results: dict[str, Any]) -> str:
    """What NAME.md says."""
    timed, classics = results["repeats"], results["classics"]
    theirs = [row["peer"] for row in timed]
    rows = []
    for name, key in (("one set of labels", "ours"), ("one permutation of the labels", "ours_permutation")):
        ours = [row[key] for row in timed]
        rows.append([name, spread(ours, 3), spread(theirs, 1), spread(ratios(theirs, ours), 0)])
    fast = min(ratios(theirs, [row["ours"] for row in timed])) > 3
    nulls = [
        [
            name,
            one["clips"],
            one["factors"],
            one["pairs"],
            *(f"{one[what]['cpu_seconds']:.0f}" for what in ("P1", "P2")),
        ]
        for name, one in results["full"].items()
    ]
    minutes = sum(one[what]["cpu_seconds"] for one in results["full"].values() for what in ("P1", "P2")) / 60
    once = {name: one["cpu_seconds"] for name, one in classics.items()}
    return (
        f"{results['clips']} clips, {results['slots']} slots of {results['width']}, {len(results['classes'])} factors. "
        "Processor seconds for one slot and all factors, median (range).\n\n"
        + table(["", "ours", "scikit-learn", "ratio"], rows)
        + f"\n\nLargest difference of the information read: {max(row['difference'] for row in timed):.3f}. "
        f"Goal of several times as fast: {verdict(fast)}.\n\n"
        "Slot scores (P1) and counterfactual scores (P2) with full nulls, processor seconds:\n\n"
        + table(["clips of", "clips", "factors", "pairs", "P1", "P2"], nulls)
        + f"\n\nTogether {minutes:.1f} minutes; goal under 15: {verdict(minutes < 15)}.\n\n"
        "Metrics of single dimensions, one measurement of the clips of one chunk, processor seconds:\n\n"
        + table(["metric", "once"], [[name, f"{value:.1f}"] for name, value in once.items()])
        + f"\n\nWith nulls and intervals each is taken about {REPEATED} times: by multiplication "
        f"{sum(once.values()) * REPEATED / 60:.0f} minutes for a model and these clips."
    )


if __name__ == "__main__":
    main()
