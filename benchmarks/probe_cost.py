"""What a probe costs once everything is embedded, and the read-out beside a plain loop of scikit-learn.

Whole: one task of 10 classes on 2,000 simulated tracks in groups of 1 to 7, linear read-out, 5 seeds x 5 folds, 1,000
bootstrap draws, eleven rows of 512 numbers, as many as a run has unasked: a model, an untrained one that each seed
redraws, seven others, and the two that are always added (shuffled labels, majority). From vectors to all scores,
intervals and comparisons, on all cores. Goal: under 60 s on two cores.

Grid: one seed of such a task with 1,200 tracks, the size of the rendered sets, by every read-out of classes, in every
view of a model of 8 x 64 numbers (all slots, their mean, each alone, all but one) and on the ten other rows.

Large: one seed of such a task with 100,000 tracks x 64 numbers, eleven rows, by a single process; its peak memory too.

Ratio: single fits of those folds, with one thread, in turn by this package and by `StandardScaler` and
`LogisticRegressionCV`, on the same vectors, the same inner folds and the same penalties, all of which scikit-learn
tries; this package may end its search after two that score lower. Both select by log probability. The penalties that
they select and what they predict for the test fold are compared; also on a row "hidden", whose label lies in weak
directions behind strong ones that vary by group, so that held-out scores fall before they rise.

    python benchmarks/probe_cost.py
    python benchmarks/probe_cost.py --quick
"""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Sequence
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
from _common import argument_parser, cores, interleaved, machine, ratios, spread, table, verdict, write_results
from embed_throughput import fresh, peak_rss
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegressionCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from m2l2_mir.dataset.dataset import Dataset
from m2l2_mir.dataset.recipe import DatasetRecipe, SplitRecipe
from m2l2_mir.probe.experiment import run_probe
from m2l2_mir.probe.linear import PENALTIES, LinearClassifier
from m2l2_mir.probe.plan import Plan, plan_probe
from m2l2_mir.probe.recipe import find_probe
from m2l2_mir.probe.rows import Row
from m2l2_mir.probe.selection import inner_folds
from m2l2_mir.probe.space import SLOTS, View
from m2l2_mir.probe.task import READOUTS, is_regression

TRACKS, WIDTH, CLASSES, LARGEST_GROUP = 2000, 512, 10, 7
SEEDS, FOLDS, INNER, DRAWS, GIVEN = 5, 5, 3, 1000, 9
GRID_TRACKS, NUM_EMBEDDINGS = 1200, 8
LARGE_TRACKS, LARGE_WIDTH = 100_000, 64
CLARITY = {"model": 1.0, "untrained": 0.5}  # spread of the class means; of the other rows, 0.7
SCATTER = 30.0  # between groups, of the row "hidden"
GOAL_SECONDS = 60.0


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--fits", type=int, default=3, help="rows of which one fit is timed beside scikit-learn's")
    options = parser.parse_args()
    facts = machine()
    tracks, width, seeds = (120, 16, 2) if options.quick else (TRACKS, WIDTH, SEEDS)
    plan, rows = experiment(tracks, width, seeds)
    whole = timed(plan, rows, jobs=cores())
    grid = timed(*gridded(tracks if options.quick else GRID_TRACKS, width), jobs=cores())
    large = fresh(alone, *((2 * tracks, width) if options.quick else (LARGE_TRACKS, LARGE_WIDTH)))
    compared = [*rows[: 1 if options.quick else options.fits], hidden(plan, width)]
    peer = [beside_peer(plan, row) for row in compared]
    results = {"whole": whole, "grid": grid, "large": large, "peer": peer}
    write_results(options, facts, results, summary(whole, grid, large, peer))


def experiment(tracks: int, width: int, seeds: int, readouts: Sequence[str] = ("linear",)) -> tuple[Plan, list[Row]]:
    """A plan on tracks without audio, and rows of vectors in which classes and groups can be seen."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(tracks), rng.integers(1, LARGEST_GROUP + 1, tracks))[:tracks]
    labels = groups % CLASSES
    recipe = DatasetRecipe(
        title="Simulated", about="", source="local", loader="", tasks=("genre",), licence="none", citation="none",
        splits={"grouped": SplitRecipe(folds=FOLDS)},
    )  # fmt: skip
    dataset = Dataset(
        name="simulated",
        recipe=recipe,
        tracks=pd.DataFrame(
            {
                "track_id": [f"t{number:05}" for number in range(tracks)],
                "path": "",
                "genre": labels.astype(str),
                "group": groups.astype(str),
            }
        ),
        dropped=pd.DataFrame(columns=["track_id", "label", "reason"]),
    )
    name, probe = find_probe("genre")
    names = ["model", "untrained", *(f"hand-made {number}" for number in range(1, GIVEN - 1))]

    def row(number: int, name: str) -> Row:
        clarity, redrawn = CLARITY.get(name, 0.7), name == "untrained"
        return Row(
            name=name,
            kind="untrained" if redrawn else "hand-made" if number else "model",
            width=width,
            load=lambda seed: vectors([number, seed if redrawn else 0], labels, groups, width, clarity),
        )

    plan = plan_probe(name, probe, dataset, seeds=seeds, readouts=readouts)
    return plan, [row(*one) for one in enumerate(names)]


def gridded(tracks: int, width: int) -> tuple[Plan, list[Row]]:
    """One seed by all read-outs of classes, with a row for each part of each view of the model."""
    plan, [model, *others] = experiment(tracks, width, 1, [name for name in READOUTS if not is_regression(name)])
    embeddings = model.load(0).reshape(tracks, NUM_EMBEDDINGS, -1)
    parts = [one for slots in SLOTS for one in View(slots=slots).of(embeddings)]
    views = [
        Row(name=model.name + suffix, kind="model", width=part.shape[1], load=lambda _, part=part: part)
        for suffix, part in parts
    ]
    return plan, [*views, *others]


def vectors(
    seed: list[int], labels: NDArray[Any], groups: NDArray[Any], width: int, clarity: float
) -> NDArray[np.float32]:
    """Correlated columns of falling variance, like those of an encoder: [tracks, width]."""
    rng = np.random.default_rng(seed)
    means = clarity * rng.normal(size=(CLASSES, width)) / np.sqrt(width / 16)
    own = 0.6 * rng.normal(size=(groups.max() + 1, width))[groups] + 0.8 * rng.normal(size=(len(labels), width))
    scales = 1 / np.sqrt(1 + np.arange(width))
    mixed = ((means[labels] + own) * scales) @ rng.normal(size=(width, width))
    return mixed.astype(np.float32)


def hidden(plan: Plan, width: int) -> Row:
    """A row of 20 directions that vary by group, mixed with 20 far weaker ones that hold the class."""
    [manifests] = plan.manifests.values()
    items = manifests[0].table.set_index("track_id").loc[list(plan.track_ids)]
    groups, labels = (pd.factorize(items[column])[0] for column in ("group", "label"))
    rng = np.random.default_rng(0)
    strong = SCATTER * rng.normal(size=(groups.max() + 1, 20))[groups]
    weak = rng.normal(size=(CLASSES, 20))[labels] + 0.3 * rng.normal(size=(len(labels), 20))
    mixed = np.hstack([strong, weak]) @ rng.normal(size=(40, width)) + 0.2 * rng.normal(size=(len(labels), width))
    return Row(name="hidden", kind="hand-made", width=width, load=lambda _: mixed.astype(np.float32))


def timed(plan: Plan, rows: list[Row], *, jobs: int) -> dict[str, Any]:
    """Run the whole probe once."""
    begun = perf_counter()
    result = run_probe(plan, rows, jobs=jobs, draws=DRAWS)
    seconds = perf_counter() - begun
    found = {
        section["readout"]: {
            line["row"]: line["estimate"] for line in section["scores"] if line["metric"] == section["primary"]
        }
        for section in result.scores["sections"]
    }
    names = [row["name"] for row in result.scores["rows"]]
    return {
        "seconds": seconds,
        "jobs": jobs,
        "tracks": len(plan.track_ids),
        "width": rows[0].width,
        "rows": len(names),
        "readouts": list(found),
        "fits": len(found) * len(names) * plan.seeds * FOLDS,
        "predictions": len(result.predictions),
        "seeds": plan.seeds,
        "draws": DRAWS,
        "accuracy": found,
    }


def alone(tracks: int, width: int) -> dict[str, Any]:
    """Run one seed of a probe in this process."""
    plan, rows = experiment(tracks, width, 1)
    return timed(plan, rows, jobs=1) | {"peak_rss_bytes": peak_rss()}


def beside_peer(plan: Plan, row: Row) -> dict[str, Any]:
    """Time the fit of the first fold of the first seed, by this package and by scikit-learn, A B A B."""
    [manifests] = plan.manifests.values()
    fold = next(manifests[0].rotations())
    items = manifests[0].table.set_index("track_id")
    place = pd.Index(plan.track_ids)
    X = row.load(0).astype(np.float64)
    train, test = (place.get_indexer(pd.Index(part)) for part in (fold.train, fold.test))
    learnt, groups = items.loc[list(fold.train), "label"].to_numpy(), items.loc[list(fold.train), "group"].to_numpy()
    classes = np.unique(learnt, return_inverse=True)[1]
    inner = inner_folds(classes, pd.factorize(groups)[0].astype(np.int64), INNER, np.random.RandomState(0))
    held = len(train) * (INNER - 1) / INNER  # items of an inner fit, by which penalties become scikit-learn's C
    fitted: dict[str, Any] = {}

    def ours() -> None:
        fitted["ours"] = LinearClassifier(random_state=0).fit(X[train], learnt, groups)

    def theirs() -> None:
        search = LogisticRegressionCV(
            Cs=[1 / (held * penalty) for penalty in PENALTIES], cv=inner, scoring="neg_log_loss", max_iter=2000
        )
        fitted["scikit-learn"] = make_pipeline(StandardScaler(), search).fit(X[train], learnt)

    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of scikit-learn's own changes to come
        seconds = interleaved({"ours": ours, "scikit-learn": theirs}, repeats=1, warmup=0)
    estimates = {name: estimator.predict(X[test]) for name, estimator in fitted.items()}
    truth = items.loc[list(fold.test), "label"].to_numpy()
    return {
        "row": row.name,
        "seconds": seconds,
        "ratio": ratios(seconds["scikit-learn"], seconds["ours"]),
        "penalty": {
            "ours": fitted["ours"].penalty_,
            "scikit-learn": float(1 / (held * np.ravel(fitted["scikit-learn"][-1].C_)[0])),
        },
        "accuracy": {name: float((estimated == truth).mean()) for name, estimated in estimates.items()},
        "agree": float((estimates["ours"] == estimates["scikit-learn"]).mean()),
    }


def summary(whole: dict[str, Any], grid: dict[str, Any], large: dict[str, Any], peer: list[dict[str, Any]]) -> str:
    """Say it for a person."""
    cells = [
        [
            one["row"],
            *(f"{statistics.median(one['seconds'][name]):.2f}" for name in ("ours", "scikit-learn")),
            f"{one['ratio'][0]:.1f} x",
            *(f"{one['penalty'][name]:.2g}" for name in ("ours", "scikit-learn")),
            *(f"{one['accuracy'][name]:.3f}" for name in ("ours", "scikit-learn")),
            f"{one['agree']:.3f}",
        ]
        for one in peer
    ]
    names = ("this package", "scikit-learn")
    ratio = spread([ratio for one in peer for ratio in one["ratio"]], 1)
    return (
        f"{whole['rows']} rows of {whole['tracks']} tracks x {whole['width']} numbers, {whole['fits']} fits in "
        f"{whole['seeds']} seeds x {FOLDS} folds, {whole['draws']} draws, {whole['jobs']} cores: "
        f"{whole['seconds']:.1f} s. Goal under {GOAL_SECONDS:.0f} s: {verdict(whole['seconds'] < GOAL_SECONDS)}.\n\n"
        f"Grid: read-outs {', '.join(grid['readouts'])} x {grid['rows']} rows of {grid['tracks']} tracks, every view "
        f"of a model of {NUM_EMBEDDINGS} x {grid['width'] // NUM_EMBEDDINGS} among them, {grid['fits']} fits of one "
        f"seed, {grid['jobs']} cores: {grid['seconds']:.0f} s, and about {SEEDS} times as long with {SEEDS} seeds. "
        f"Large: {large['rows']} rows of {large['tracks']} tracks x {large['width']} numbers, {large['fits']} fits of "
        f"one seed, {large['predictions']} predictions, one process: {large['seconds']:.0f} s, peak memory "
        f"{large['peak_rss_bytes'] / 1e9:.1f} GB.\n\n"
        f"A plain `LogisticRegressionCV` takes {ratio} times as long for a fit, median (range):\n\n"
        + table(
            [
                "row",
                *(f"fit, {name} (s)" for name in names),
                "ratio",
                *(f"penalty, {name}" for name in names),
                *(f"accuracy, {name}" for name in names),
                "predict the same",
            ],
            cells,
        )
    )


if __name__ == "__main__":
    main()
