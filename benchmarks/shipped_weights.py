"""What trained weights have learnt: is their linear probe above that of untrained networks, and of hand-made features?

Judges the results of `m2l2 probe run all`, on data that no model was trained on: held-out instruments, grouped pieces
and tunes, a soundfont that training has not heard (the notes of a probe say so if there is none). What is missing in
--results is run. The floor of a model is the best of its untrained selves, shuffled labels and the majority class; a
bar is reached where the model is above every such row by the paired test, adjusted after Holm over all tables of the
probe. Tests are of the first model: the others have their score. On tempo the tempogram of the whole clip is no bar
but a ceiling, as a model hears chunks.

    m2l2 probe run all --model m2l2-small --model m2l2-small-ordered --out probes
    python benchmarks/shipped_weights.py --results probes
    python benchmarks/shipped_weights.py --model m2l2-small --quick
"""

from __future__ import annotations

import json
import shlex
import warnings
from pathlib import Path
from typing import Any

from _common import argument_parser, machine, table, verdict, write_results

from m2l2_mir.durable import cache_home
from m2l2_mir.errors import UntrainedWarning
from m2l2_mir.probe.experiment import MAJORITY, SHUFFLED
from m2l2_mir.probe.recipe import probe_names
from m2l2_mir.probe.request import Request, request_probe
from m2l2_mir.probe.sources import Sources

QUICK_PROBES, QUICK_SEEDS = ("pitch",), 2


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--results", type=Path, metavar="DIR", help="of m2l2 probe run (default: in the user's cache)")
    parser.add_argument("--model", action="append", metavar="M", help="to judge, where --results lacks a probe")
    options = parser.parse_args()
    warnings.simplefilter("ignore", UntrainedWarning)
    facts = machine()
    folder = options.results or cache_home() / "shipped_weights" / ("quick" if options.quick else "default")
    models = options.model or ["m2l2-small"]
    probes = {
        name: results_of(name, folder, models, quick=options.quick)
        for name in (QUICK_PROBES if options.quick else probe_names())
    }
    results = {
        name: {key: scores[key] for key in ("title", "command", "settings", "sentence")} | {"bars": bars(scores)}
        for name, scores in probes.items()
    }
    write_results(options, facts, {"probes": results}, summary(results))


def results_of(name: str, folder: Path, models: list[str], *, quick: bool) -> dict[str, Any]:
    """Results of a probe, which is run if they are not there."""
    found = folder / name / "scores.json"
    if not found.is_file():
        command = ["m2l2", "probe", "run", name, *(part for model in models for part in ("--model", model))]
        size = {"size": "quick", "seeds": QUICK_SEEDS} if quick else {}
        request_probe(
            name,
            Request(sources=Sources(models=models), out=folder, command=shlex.join(command), say=print, **size),
        )
    scores: dict[str, Any] = json.loads(found.read_text())
    return scores


def bars(scores: dict[str, Any]) -> list[dict[str, Any]]:
    """Scores of all models; for the first, what it has to be above, and of this what no test says that it is above."""
    section, kinds = scores["sections"][0], {row["name"]: row["kind"] for row in scores["rows"]}
    found = {line["row"]: line["estimate"] for line in section["scores"] if line["metric"] == section["primary"]}
    below = {line["row"] for line in section["comparisons"] if not line["mark"] and line["difference"] < 0}
    ceiling = {"tempogram"} if scores["probe"] == "tempo" else set()  # it hears the whole clip, a model chunks of it
    groups = {
        "floor": [row for row in kinds if kinds[row] == "untrained" or row in (SHUFFLED, MAJORITY)],
        "hand-made": [row for row in kinds if kinds[row] == "hand-made" and row not in ceiling],
    }
    lines: list[dict[str, Any]] = [{"model": row, "score": found[row]} for row in kinds if kinds[row] == "model"]
    for name, rows in groups.items():
        best = max(rows, key=found.__getitem__)
        lines[0][name] = {"best": best, "score": found[best], "not above": [row for row in rows if row not in below]}
    return lines


def summary(probes: dict[str, Any]) -> str:
    """Say it for a person: how each model stands to what it has to be above, and each probe in a sentence."""
    lines = [
        [
            scores["title"],
            line["model"],
            f"{line['score']:.3f}",
            *(part for bar in ("floor", "hand-made") for part in reached(line.get(bar))),
        ]
        for scores in probes.values()
        for line in scores["bars"]
    ]
    header = ["probe", "model", "score", "best of the floor", "above the floor", "best hand-made", "above hand-made"]
    commands = dict.fromkeys(scores["command"] for scores in probes.values())
    return "\n\n".join(
        [
            table(header, lines),
            "\n".join(f"* {scores['sentence']}" for scores in probes.values()),
            f"Results judged: {', '.join(f'`{command}`' for command in commands)}; all rows, with intervals and every "
            "comparison: [probes/](probes/table.md).",
        ]
    )


def reached(bar: dict[str, Any] | None) -> list[str]:
    """The best row of a bar, and whether the model is above all of its rows."""
    if bar is None:
        return ["", ""]
    rest = ", ".join(bar["not above"])
    return [f"{bar['best']} {bar['score']:.3f}", f"{verdict(False)}: {rest}" if rest else verdict(True)]


if __name__ == "__main__":
    main()
