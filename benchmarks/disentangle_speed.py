"""Slot scores with their nulls against a loop over scikit-learn fits on the same problem.

A made problem: clips x slots of 64 numbers, factors of 2 to 12 classes, 5 folds of whole groups. Ours is
`m2l2_mir.disentangle.information.Probes`: nested selection of the penalty, for the labels and for permutations of them.
The peer does the same with `LogisticRegression`: for each slot, factor and fold the penalties are tried on the other
folds in turn, and the best one is fitted again. The ratio is of processor times for one set of labels (slots x factors
x folds, all fits), and for permutations, where the peer's time is that of one set of labels times their number: it has
nothing to share between them. Besides, how far the information that the two read differs. Goal: several times as fast.

Measured beside it: `slot_scores` with full nulls (50 rotations, 200 permutations). Goal: under 15 minutes on two cores.

    python benchmarks/disentangle_speed.py
    python benchmarks/disentangle_speed.py --quick
"""

from __future__ import annotations

from time import perf_counter, process_time
from typing import Any

import numpy as np
from _common import argument_parser, machine, ratios, spread, table, verdict, write_results
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler

from m2l2_mir.disentangle.factors import Column, read_factors
from m2l2_mir.disentangle.information import PENALTIES, Probes, dealt, information
from m2l2_mir.disentangle.nulls import Nulls, permuted_rows
from m2l2_mir.disentangle.slots import slot_scores

CLASSES = (6, 3, 5, 4, 2, 12, 2, 6, 12, 8, 4, 4)
FOLDS = 5
PERMUTATIONS = 20  # timed


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--repeats", type=int, default=3, help="timed pairs (default: 3)")
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
    timed = [measure(codes, columns, groups, options.peer_slots) for _ in range(repeats)]
    begun, cpu = perf_counter(), process_time()
    slot_scores(codes, labels, groups=groups, nulls=nulls)
    full = {"seconds": perf_counter() - begun, "cpu_seconds": process_time() - cpu}
    results = {"clips": clips, "slots": slots, "width": width, "classes": classes, "repeats": timed, "full": full}
    write_results(options, facts, results, summary(results))


def problem(clips: int, slots: int, width: int, classes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes [clips, slots, width] that hold every factor weakly in every slot, labels, groups of 16."""
    rng = np.random.default_rng(0)
    labels = np.stack([rng.integers(0, count, clips) for count in classes], axis=1)
    hidden = np.hstack([rng.normal(size=(count, 6))[labels[:, f]] for f, count in enumerate(classes)])
    codes = hidden @ rng.normal(size=(hidden.shape[1], slots * width)) / 15 + rng.normal(size=(clips, slots * width))
    return codes.reshape(clips, slots, width), labels, np.arange(clips) // 16


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
    timed, full = results["repeats"], results["full"]
    theirs = [row["peer"] for row in timed]
    rows = []
    for name, key in (("one set of labels", "ours"), ("one permutation of the labels", "ours_permutation")):
        ours = [row[key] for row in timed]
        rows.append([name, spread(ours, 3), spread(theirs, 1), spread(ratios(theirs, ours), 0)])
    fast = min(ratios(theirs, [row["ours"] for row in timed])) > 3
    minutes = full["cpu_seconds"] / 60
    return (
        f"{results['clips']} clips, {results['slots']} slots of {results['width']}, {len(results['classes'])} factors. "
        "Processor seconds for one slot and all factors, median (range).\n\n"
        + table(["", "ours", "scikit-learn", "ratio"], rows)
        + f"\n\nLargest difference of the information read: {max(row['difference'] for row in timed):.3f}. "
        f"Goal of several times as fast: {verdict(fast)}.\n\n"
        f"`slot_scores` with its nulls: {full['cpu_seconds']:.0f} s of processor time, {full['seconds']:.0f} s passed; "
        f"goal under 15 minutes: {verdict(minutes < 15)}."
    )


if __name__ == "__main__":
    main()
