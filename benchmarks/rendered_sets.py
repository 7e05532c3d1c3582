"""The rendered data sets: how fast they are made, and what is in them.

Speed: 1,000 clips of 5 s (chorales in four parts, with a room) into an empty cache, on all cores, for each soundfont
that is there; beside it the same clips, a tenth of them, in one process. Goal: under 3 minutes on two cores.

Content: every rendered set at its default size, with what was dropped and why, the smallest and largest fold, and
whether groups or identical clips lie on both sides of its first split (folds are drawn by group, so this can only fail
by a mistake; that the melodies of different groups differ is tested in tests/dataset/rendered). Scores are read into an
empty cache, so that the time of the first use is told apart from later ones.

    python benchmarks/rendered_sets.py
    python benchmarks/rendered_sets.py --quick
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

from _common import argument_parser, cores, machine, table, verdict, write_results

from m2l2_mir.audit.audit import audit
from m2l2_mir.dataset.dataset import Dataset, load_dataset
from m2l2_mir.dataset.recipe import dataset_names, find_recipe
from m2l2_mir.dataset.rendered.clips import Clip, render_clips
from m2l2_mir.dataset.rendered.soundfont import probe_soundfonts

CLIPS, SECONDS, GOAL_SECONDS = 1000, 5.0, 180.0


def main() -> None:
    options = argument_parser(__doc__).parse_args()
    facts = machine()
    with tempfile.TemporaryDirectory() as cache:
        os.environ["M2L2_CACHE"] = cache
        size = "quick" if options.quick else "default"
        sets = [describe(name, size) for name in rendered_names()]
        speed = speeds(load_dataset("bach-key", size=size), 20 if options.quick else CLIPS)
    write_results(options, facts, {"sets": sets, "speed": speed}, summary(sets, speed, size))


def rendered_names() -> list[str]:
    return [name for name in dataset_names() if find_recipe(name)[1].source == "rendered"]


def describe(name: str, size: str) -> dict[str, Any]:
    """Count one set; load it twice, as the first time reads scores."""
    start = perf_counter()
    load_dataset(name, size=size)
    first = perf_counter() - start
    start = perf_counter()
    dataset = load_dataset(name, size=size)
    again = perf_counter() - start
    labels = {}
    for label in dataset.labels:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            manifest = dataset.split(label)
        found = audit(dataset, manifest)
        per_fold = manifest.table.groupby("fold").size()
        labels[label] = {
            "labelled": len(manifest.table),
            "values": int(manifest.table["label"].nunique()),
            "folds": len(per_fold),
            "fold_sizes": [int(per_fold.min()), int(per_fold.max())],
            "groups_apart": found.ok,
            "manifest": manifest.sha256,
        }
    return {
        "name": name,
        "clips": len(dataset.tracks),
        "hours": float(dataset.tracks["seconds"].sum() / 3600),
        "groups": int(dataset.tracks["group"].nunique()),
        "labels": labels,
        "dropped": dict(Counter(dataset.dropped["reason"]).most_common()),
        "notes": list(dataset.notes),
        "first_load_s": first,
        "load_s": again,
    }


def speeds(dataset: Dataset, count: int) -> list[dict[str, Any]]:
    """Render clips of 5 s with each soundfont, on all cores and, a tenth of them, on one."""
    results = []
    for font in probe_soundfonts():
        clips = [
            replace(
                dataset.clips[row % len(dataset.clips)], seconds=SECONDS, soundfont=font, level_dbfs=-20 - row / count
            )
            for row in range(count)
        ]
        parallel, alone = timed(clips, jobs=cores()), timed(clips[:: max(1, count // 100)][:100], jobs=1)
        results.append(
            {
                "soundfont": font.name,
                "clips": count,
                "seconds": parallel,
                "times_real_time": count * SECONDS / parallel,
                "one_process_seconds_a_clip": alone / min(100, count),
                "jobs": cores(),
            }
        )
    return results


def timed(clips: list[Clip], *, jobs: int) -> float:
    with tempfile.TemporaryDirectory() as cache:
        start = perf_counter()
        render_clips(clips, cache=Path(cache), jobs=jobs)
        return perf_counter() - start


def summary(sets: list[dict[str, Any]], speed: list[dict[str, Any]], size: str) -> str:
    """Say it for a person."""
    clip_rows = [
        [
            row["soundfont"],
            row["clips"],
            f"{row['seconds']:.1f} s",
            f"{row['times_real_time']:.0f} x",
            f"{row['one_process_seconds_a_clip'] * 1000:.0f} ms",
            verdict(row["seconds"] < GOAL_SECONDS),
        ]
        for row in speed
    ]
    set_rows = [
        [
            row["name"],
            row["clips"],
            f"{row['hours']:.2f}",
            row["groups"],
            "; ".join(
                f"{label}: {of['labelled']} in {of['values']} values, {of['folds']} folds of {of['fold_sizes'][0]} to "
                f"{of['fold_sizes'][1]}, {'groups apart' if of['groups_apart'] else 'GROUPS SHARED'}"
                for label, of in row["labels"].items()
            ),
            "; ".join(f"{count} {reason}" for reason, count in row["dropped"].items()) or "none",
            f"{row['first_load_s']:.1f} / {row['load_s']:.1f}",
        ]
        for row in sets
    ]
    notes = sorted({f"{row['name']}: {note}" for row in sets for note in row["notes"]})
    speed_header = ["soundfont", "clips of 5 s", "all cores", "real time", "a clip, one process", "under 3 min"]
    set_header = ["set", "clips", "hours", "groups", "labels", "pieces dropped", "load, first / later (s)"]
    return "\n\n".join(
        [
            table(speed_header, clip_rows),
            f"Sets at size {size}. 'Groups apart': no group and no identical clip on both sides of the first split.",
            table(set_header, set_rows),
            "\n".join(f"* {note}" for note in notes),
        ]
    )


if __name__ == "__main__":
    main()
