"""``m2l2 demo``: the main job, from a dozen short tracks to an HTML report, offline."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from m2l2_mir.dataset.dataset import Dataset, load_dataset
from m2l2_mir.dataset.recipe import dataset_names, find_recipe
from m2l2_mir.dataset.rendered.demo import demo_tracks
from m2l2_mir.demo_search import SEARCHES, search_section
from m2l2_mir.disentangle.report import matrix_section
from m2l2_mir.disentangle.run import analyse_models
from m2l2_mir.embedding.extract import extract
from m2l2_mir.embedding.store import EmbeddingStore
from m2l2_mir.model.autoencoder import Music2Latent2
from m2l2_mir.model.checkpoint import load_model
from m2l2_mir.probe.inputs import Extraction, model_name, store_rows, untrained_rows
from m2l2_mir.probe.oracles import oracle_rows
from m2l2_mir.probe.plan import plan_probe
from m2l2_mir.probe.recipe import find_probe
from m2l2_mir.probe.report import summary_section, write_report
from m2l2_mir.probe.rows import hand_made_rows
from m2l2_mir.probe.running import run_into
from m2l2_mir.report.demo_report import write_demo_report
from m2l2_mir.report.sets import sets_section

__all__ = ["run_demo"]

QUICK_SET = "notes-pitch"
FOUR = ["key", "pitch", "genre", "tempo"]
PROBES = {"quick": ["pitch"], "default": FOUR, "full": FOUR}
SEEDS = {"quick": 1, "default": 1, "full": 2}
UNTRAINED_NOTE = (
    "{weights}: a random encoder keeps something of timbre and loudness, as any random projection of a spectrogram "
    "does. It has learned nothing about music: read this page as a tour of the pipeline."
)


def run_demo(
    out: Path, *, model: str, device: str, size: Literal["quick", "default", "full"], say: Callable[[str], None]
) -> Path:
    """Render, embed, probe and report into `out`; return the path of the report.

    Parameters
    ----------
    out
        Folder; what is in it already is not made again.
    model, device
        As :func:`m2l2_mir.load_model` takes them.
    size
        How many tracks, data sets and probes.
    say
        Told what begins.

    Raises
    ------
    MissingExtraError
        The ``[render]`` extra is not installed.
    """
    network = load_model(model, device=device)
    say("Rendering tracks from scores of the music21 corpus ...")
    tracks = demo_tracks(out / "tracks", quick=size == "quick")
    say(f"Embedding {len(tracks)} tracks with {network.weights_id} ...")
    store = extract(list(tracks["path"]), out=out / f"embeddings-{network.fingerprint}", model=network, keep="chunks")
    rows = {Path(path).name: row for row, path in enumerate(store.ok["path"])}
    order = [rows[Path(path).name] for path in tracks["path"]]
    vectors = store.embeddings()[order]
    sets, stores = _rendered_sets(out, network, quick=size == "quick", say=say)
    probes = _probes_section(out, model, network, sets, stores, size=size, say=say)
    search = SEARCHES["quick" if size == "quick" else "default"]
    say(f"Searching {search.dataset} ...")
    found = search_section(
        out, search, sets[search.dataset], stores[search.dataset], out / f"probes-{network.fingerprint}"
    )
    slots = _slots_section(out, model, network, device=device, say=say)
    first = store.ok["track_id"].iloc[order[0]]
    heard = store.chunk_table(first).query("samples > 0 and not silent")["chunk"]
    return write_demo_report(
        out,
        tracks=tracks,
        vectors=vectors,
        provenance=_shown(store.provenance),
        trained=store.trained,
        untrained_note=UNTRAINED_NOTE.format(weights=network.weights_id),
        chunk_vectors=store.chunks(first)[heard],
        chunk_seconds=network.config.chunk_seconds,
        more=[
            probes,
            slots,
            found,
            sets_section(
                {f"m2l2 embed dataset:{name} --size quick --out {name}/": dataset for name, dataset in sets.items()},
                {name: len(store.ok) for name, store in stores.items()},
            ),
        ],
    )


def _rendered_sets(
    out: Path, network: Music2Latent2, *, quick: bool, say: Callable[[str], None]
) -> tuple[dict[str, Dataset], dict[str, EmbeddingStore]]:
    """Render and embed the data sets that need no download; of a quick demo, only the quickest."""
    sets, stores = {}, {}
    names = [name for name in dataset_names() if find_recipe(name)[1].source == "rendered"]
    for name in [QUICK_SET] if quick else names:
        dataset = load_dataset(name, size="quick")
        say(f"Embedding data set {name}: {len(dataset.tracks)} clips ...")
        stores[name] = extract(dataset, out=out / f"embeddings-{network.fingerprint}-{name}", model=network)
        sets[name] = dataset
    return sets, stores


def _probes_section(
    out: Path,
    model: str,
    network: Music2Latent2,
    sets: Mapping[str, Dataset],
    stores: Mapping[str, EmbeddingStore],
    *,
    size: str,
    say: Callable[[str], None],
) -> str:
    """Read labels from the embeddings, and from what stands beside them."""
    name, folder = model_name(model), out / f"probes-{network.fingerprint}"
    wanted, seeds = PROBES[size], SEEDS[size]
    command = (
        f"m2l2 probe run {' '.join(wanted)} --model {shlex.quote(model)} --quick --seeds {seeds} --readout linear "
        f"--out {shlex.quote(str(folder))}"
    )
    for probe in wanted:
        _, recipe = find_probe(probe)
        plan = plan_probe(probe, recipe, sets[recipe.dataset], readouts=["linear"], seeds=seeds)
        say(f"Probe of {probe}: {len(plan.track_ids)} clips ...")
        rows = store_rows(stores[recipe.dataset], name, plan.dataset)
        if network.trained:
            extraction = Extraction(device=str(network.device), cache=out / "untrained")
            rows += untrained_rows([(name, network.config)], plan.dataset, seeds=seeds, extraction=extraction)
        rows += hand_made_rows(plan.dataset.tracks["path"].tolist())
        rows += oracle_rows(plan.dataset, plan.recipe.oracles)
        # Fits this small take less time than further processes take to start.
        run_into(folder, plan, rows, command=command, overwrite=True, jobs=1, quiet=True)
    report = write_report(folder)
    return summary_section(folder, intro=_probes_intro(size, trained=network.trained), report=report)


def _slots_section(out: Path, model: str, network: Music2Latent2, *, device: str, say: Callable[[str], None]) -> str:
    """Ask what each slot holds."""
    say("Asking which slot holds what ...")
    folder = out / f"disentangle-{network.fingerprint}"
    analyse_models([model], folder, size="tour", device=device)
    return matrix_section(
        folder,
        intro="Clips whose attributes vary independently: what a probe reads from each slot alone, and how far it "
        "moves when one attribute changes, beside random rotations of the same code. A tour on few clips.",
    )


def _probes_intro(size: str, *, trained: bool) -> str:
    others = [probe for probe in FOUR if probe not in PROBES[size]]
    seeds = f"{SEEDS[size]} seed{'s' if SEEDS[size] > 1 else ''}"
    return " ".join(
        [
            "A linear read-out is trained on the embeddings of some clips and names the label of others, which it has "
            f"not seen. The sets are small here, with {seeds}: enough to see how it is done, too little to rank "
            "models by.",
            "" if trained else "The encoder is itself untrained, so that no untrained one stands beside it.",
            f"'m2l2 demo' without --quick adds {', '.join(others)}." if others else "",
        ]
    ).strip()


def _shown(provenance: Mapping[str, Any]) -> dict[str, str]:
    """What a reader of the page needs of a store's provenance; the whole is in the store."""
    settings, versions = provenance["settings"], provenance["versions"]
    return {
        "weights": settings["weights"],
        "sha256 of the weights": settings["weights_sha256"],
        "model": "{name}, {sample_rate} Hz, {latents} latents".format(**settings["model"]),
        "features": settings["features"],
        "chunk": f"{provenance['chunk_seconds']:.3f} s",
        "left out as silent": f"chunks below {settings['silence_dbfs']:g} dBFS",
        "versions": ", ".join(f"{name} {number}" for name, number in versions.items()),
        "made": provenance["created"],
    }
