"""What models have learnt: pitch, key, tempo and type of dance by linear probe, beside untrained networks.

The four probes of `m2l2 probe run` at their default size, on data that no model was trained on: held-out instruments,
grouped pieces and tunes, a soundfont that training has not heard (the notes below the tables say so if there is none).
Candidate architectures are untrained networks, named by preset or configuration file, of which each seed draws another
initialisation. The floor is the best of them, shuffled labels and the majority class; the first model reaches a bar
where it is above every such row by the paired test, adjusted after Holm over all tables of the probe. On tempo the
tempogram of the whole clip is no bar but a ceiling, as a model hears chunks. Run it without --model to fix the
untrained rows before training.

Embeddings, hand-made features and finished probes are kept in --work, so that a run that was stopped goes on.

    python benchmarks/shipped_weights.py --untrained m2l2-small --untrained my-candidate.toml
    python benchmarks/shipped_weights.py --model m2l2-small --untrained m2l2-small --untrained my-candidate.toml
    python benchmarks/shipped_weights.py --quick
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from _common import argument_parser, cores, machine, table, verdict, write_results

from m2l2_mir.dataset.dataset import load_dataset
from m2l2_mir.durable import cache_home
from m2l2_mir.errors import UntrainedWarning
from m2l2_mir.model.config import ModelConfig
from m2l2_mir.probe.experiment import MAJORITY, SHUFFLED
from m2l2_mir.probe.inputs import Extraction, model_name, model_store, store_rows, untrained_rows
from m2l2_mir.probe.oracles import oracle_rows
from m2l2_mir.probe.plan import plan_probe
from m2l2_mir.probe.recipe import find_probe
from m2l2_mir.probe.rows import Row, hand_made_rows
from m2l2_mir.probe.running import run_into
from m2l2_mir.probe.tables import footnotes, section_table

PROBES = ("pitch", "key", "tempo", "genre")
QUICK_PROBES = ("pitch",)


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--model", action="append", default=[], metavar="NAME", help="weights to judge; repeatable")
    parser.add_argument(
        "--untrained", action="append", default=[], metavar="NAME", help="candidate: preset or config.toml; repeatable"
    )
    parser.add_argument("--initialisations", type=int, default=5, help="seeds, of folds too (default: 5)")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--work", type=Path, metavar="DIR", help="kept between runs (default: in the user's cache)")
    options = parser.parse_args()
    warnings.simplefilter("ignore", UntrainedWarning)
    if options.quick and not options.untrained:
        options.untrained = ["m2l2-tiny"]
    if not options.model and not options.untrained:
        parser.error("name something to judge, with --model or --untrained")
    seeds = min(options.initialisations, 2) if options.quick else options.initialisations
    facts = machine()
    work = options.work or cache_home() / "shipped_weights"
    probes = {
        name: judge(name, options.model, options.untrained, seeds, options.device, work, quick=options.quick)
        for name in (QUICK_PROBES if options.quick else PROBES)
    }
    write_results(options, facts, {"initialisations": seeds, "probes": probes}, summary(probes))


def judge(
    name: str, models: list[str], untrained: list[str], seeds: int, device: str, work: Path, *, quick: bool
) -> dict[str, Any]:
    """Run one probe, or take it from an earlier run with the same settings, and see which bars are reached."""
    name, recipe = find_probe(name)
    dataset = load_dataset(recipe.dataset, size="quick" if quick else "default")
    plan = plan_probe(name, recipe, dataset, seeds=seeds)
    extraction = Extraction(device=device, cache=work / "embeddings")
    plan.dataset.render(jobs=cores())
    rows: list[Row] = []
    for model in models:
        rows += store_rows(model_store(model, plan.dataset, extraction), model_name(model), plan.dataset)
    candidates = [(one, candidate(one)) for one in untrained]
    rows += untrained_rows(candidates, plan.dataset, seeds=seeds, extraction=extraction)
    rows += hand_made_rows(plan.dataset.tracks["path"].astype(str).tolist(), jobs=cores())
    rows += oracle_rows(plan.dataset, plan.recipe.oracles)
    results = work / "results"
    scores, _ = run_into(results, plan, rows, command="benchmarks/shipped_weights.py", overwrite=True)
    return scores | {"bars": bars(scores)}


def candidate(name: str) -> ModelConfig:
    return ModelConfig.from_toml(name) if name.endswith(".toml") else ModelConfig.preset(name)


def bars(scores: dict[str, Any]) -> list[dict[str, Any]]:
    """For the first model, the rows that it has to be above and those that the paired test does not say it is above."""
    section, kinds = scores["sections"][0], {row["name"]: row["kind"] for row in scores["rows"]}
    model = next((row for row in kinds if kinds[row] == "model"), None)
    if model is None:
        return []
    found = {line["row"]: line["estimate"] for line in section["scores"] if line["metric"] == section["primary"]}
    below = {line["row"] for line in section["comparisons"] if not line["mark"] and line["difference"] < 0}
    ceiling = {"tempogram"} if scores["probe"] == "tempo" else set()  # it hears the whole clip, a model chunks of it
    groups = {
        "floor": [row for row in kinds if kinds[row] == "untrained" or row in (SHUFFLED, MAJORITY)],
        "hand-made": [row for row in kinds if kinds[row] == "hand-made" and row not in ceiling],
    }
    line: dict[str, Any] = {"model": model, "score": found[model]}
    for name, rows in groups.items():
        best = max(rows, key=found.__getitem__)
        line[name] = {"best": best, "score": found[best], "not above": [row for row in rows if row not in below]}
    return [line]


def summary(probes: dict[str, Any]) -> str:
    """Say it for a person: how each model stands to what it has to be above, then all rows."""
    lines = [
        [scores["title"], line["model"], f"{line['score']:.3f}", *reached(line["floor"]), *reached(line["hand-made"])]
        for scores in probes.values()
        for line in scores["bars"]
    ]
    header = ["probe", "model", "score", "best of the floor", "above the floor", "best hand-made", "above hand-made"]
    parts = [table(header, lines)] if lines else []
    for scores in probes.values():
        for section in scores["sections"]:
            shown = section_table(scores, section)
            parts.append(f"## {scores['title']}, split {section['split']}, read-out {section['readout']}")
            parts.append(table(list(shown.columns), shown.to_numpy().tolist()))
            parts.append("\n".join(f"* {note}" for note in footnotes(scores, section)))
        parts.append(scores["sentence"] + ".")
    return "\n\n".join(parts)


def reached(bar: dict[str, Any]) -> list[str]:
    """The best row of a bar, and whether the model is above all of its rows."""
    rest = ", ".join(bar["not above"])
    return [f"{bar['best']} {bar['score']:.3f}", f"{verdict(False)}: {rest}" if rest else verdict(True)]


if __name__ == "__main__":
    main()
