"""``m2l2 demo``: the main job, from a dozen short tracks to an HTML report, offline."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from m2l2_mir.dataset.dataset import Dataset, load_dataset
from m2l2_mir.dataset.recipe import dataset_names, find_recipe
from m2l2_mir.dataset.rendered.demo import demo_tracks
from m2l2_mir.embedding.extract import extract
from m2l2_mir.model.autoencoder import Music2Latent2
from m2l2_mir.model.checkpoint import load_model
from m2l2_mir.report.demo_report import write_demo_report
from m2l2_mir.report.sets import sets_section

__all__ = ["run_demo"]

QUICK_SET = "notes-pitch"
UNTRAINED_NOTE = (
    "{weights}: a random encoder keeps something of timbre and loudness, as any random projection of a spectrogram "
    "does. It has learned nothing about music: read this page as a tour of the pipeline."
)


def run_demo(out: Path, *, model: str, device: str, quick: bool, say: Callable[[str], None]) -> Path:
    """Render, embed and report into `out`; return the path of the report.

    Raises
    ------
    MissingExtraError
        The ``[render]`` extra is not installed.
    """
    network = load_model(model, device=device)
    say("Rendering tracks from scores of the music21 corpus ...")
    tracks = demo_tracks(out / "tracks", quick=quick)
    say(f"Embedding {len(tracks)} tracks with {network.weights_id} ...")
    store = extract(list(tracks["path"]), out=out / f"embeddings-{network.fingerprint}", model=network, keep="chunks")
    rows = {Path(path).name: row for row, path in enumerate(store.ok["path"])}
    order = [rows[Path(path).name] for path in tracks["path"]]
    vectors = store.embeddings()[order]
    sets, embedded = _rendered_sets(out, network, quick=quick, say=say)
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
        more=[sets_section(sets, embedded)],
    )


def _rendered_sets(
    out: Path, network: Music2Latent2, *, quick: bool, say: Callable[[str], None]
) -> tuple[dict[str, Dataset], dict[str, int]]:
    """Render and embed the data sets that need no download; of a quick demo, only the quickest."""
    sets, embedded = {}, {}
    names = [name for name in dataset_names() if find_recipe(name)[1].source == "rendered"]
    for name in [QUICK_SET] if quick else names:
        dataset = load_dataset(name, size="quick")
        say(f"Embedding data set {name}: {len(dataset.tracks)} clips ...")
        store = extract(dataset, out=out / f"embeddings-{network.fingerprint}-{name}", model=network)
        sets[f"m2l2 embed dataset:{name} --size quick --out {name}/"] = dataset
        embedded[name] = len(store.ok)
    return sets, embedded


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
