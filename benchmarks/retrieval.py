"""Do the neighbours of a track mean anything? Precision of neighbours by key, tempo, dance type and pitch.

On the rendered sets of the probes, by `m2l2 index evaluate`: every clip is a query, clips of the same group (piece,
tune, instrument) are no neighbours, a neighbour is right if it has the same label (tempo within 4 %, keys that mix).
Beside the model stand an untrained network (one draw), log-mel, chroma and tempogram statistics, and random vectors;
intervals are over groups. No label is used, so what is there but not loud is not found: what a linear probe reads is
another question, see `shipped_weights.py`. The index is prepared on the clips, as for any library. Goal: above random
and untrained on every set.

Then two ways to ask with the model alone:

  - Search steered by a probe (`_steering.py`): faster, slower, in another key, judged by labels. Goal: more of it than
    without steering; what random results have stands beside it.
  - Snippets of 5 s (`_snippets.py`): is their place found, how exactly, and do snippets that occur nowhere stand out?

    python benchmarks/retrieval.py --model m2l2-small [--data ~/Music]
    python benchmarks/retrieval.py --model m2l2-small --quick
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from _common import argument_parser, cores, machine, table, verdict, write_results
from _snippets import SECONDS, located, snippet_summary
from _steering import steered, steering_summary

from m2l2_mir.dataset.dataset import Dataset, load_dataset
from m2l2_mir.durable import cache_home
from m2l2_mir.errors import UntrainedWarning
from m2l2_mir.index.evaluate import evaluate_index
from m2l2_mir.index.evaluation_tables import markdown
from m2l2_mir.index.evaluation_words import section_title
from m2l2_mir.index.similarity import SimilarityIndex
from m2l2_mir.probe.inputs import Extraction, config_of, model_name, model_store
from m2l2_mir.progress import CountProgress

LABELS = {  # data set -> relation that makes a neighbour right
    "bach-key": "key:key",
    "tunes-tempo": "tempo:tempo",
    "tunes-genre": "genre",
    "notes-pitch": "pitch",
}
SNIPPETS = "tunes-tempo"  # data set that snippets are cut from, beside the music of --data
BASELINES = ("log-mel", "chroma", "tempogram-chunks")


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--model", default="m2l2-small", metavar="NAME", help="weights to judge (default: m2l2-small)")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder of music that snippets are cut from too")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--work", type=Path, metavar="DIR", help="kept between runs (default: in the user's cache)")
    options = parser.parse_args()
    warnings.simplefilter("ignore", UntrainedWarning)
    facts = machine()
    work = options.work or cache_home() / "retrieval"
    names = ["notes-pitch"] if options.quick else list(LABELS)
    found = {name: evaluated(name, options.model, options.device, work, quick=options.quick) for name in names}
    wishes = steered(options.model, options.device, work, quick=options.quick)
    dataset = load_dataset(SNIPPETS, size="quick" if options.quick else "default")
    dataset.render(jobs=cores())
    sources: dict[str, Path | Dataset] = {SNIPPETS: dataset} | ({"--data": options.data} if options.data else {})
    places = {
        name: located(source, options.model, options.device, work, quick=options.quick)
        for name, source in sources.items()
    }
    parts = [
        summary(found, model_name(options.model)),
        f"## Steering\n\n{steering_summary(wishes)}",
        f"## Snippets of {SECONDS:g} s\n\n{snippet_summary(places)}",
    ]
    write_results(options, facts, {"sets": found, "steering": wishes, "snippets": places}, "\n\n".join(parts))


def evaluated(name: str, model: str, device: str, work: Path, *, quick: bool) -> dict[str, Any]:
    """Scores of the neighbours in one data set."""
    dataset = load_dataset(name, size="quick" if quick else "default")
    dataset.render(jobs=cores())
    extraction = Extraction(device=device, cache=work / "embeddings")
    store = model_store(model, dataset, extraction)
    config = config_of(store)
    others = [] if config is None else [model_store(f"random:{config.name}:1000", dataset, extraction)]
    index = SimilarityIndex.build(store, metadata=dataset.tracks.drop(columns=["path", "duration"], errors="ignore"))
    evaluation = evaluate_index(
        index,
        name=model_name(model),
        labels=[LABELS[name]],
        group="group",
        baselines=BASELINES,
        stores=[Path(other.path) for other in others],
        count=CountProgress,
    )
    return evaluation.scores


def summary(found: dict[str, Any], model: str) -> str:
    """Where the goal is reached and where not, then all rows of all sets."""
    lines, parts = [], []
    for name, scores in found.items():
        for section in scores["sections"]:
            found_by = {one["row"]: one["estimate"] for one in section["scores"] if one["metric"] == scores["primary"]}
            below = {one["row"] for one in section["comparisons"] if not one["mark"] and one["difference"] < 0}
            others = [row for row in found_by if row != model and not row.startswith("same embeddings")]
            floor = [row for row in others if row.startswith(("random", "untrained"))]
            best = max(others, key=found_by.__getitem__)
            lines.append(
                [
                    name,
                    section_title(section, scores["group"]),
                    f"{found_by[model]:.3f}",
                    f"{best} {found_by[best]:.3f}",
                    verdict(below.issuperset(floor)),
                ]
            )
        body = markdown(scores).partition("\n\n")[2].replace("\n## ", "\n### ")  # without its title
        parts.append(f"## {name}\n\n{body}")
    header = ["data set", "right by", model, "best other row", "above random and untrained"]
    return "\n\n".join([table(header, lines), *parts])


if __name__ == "__main__":
    main()
