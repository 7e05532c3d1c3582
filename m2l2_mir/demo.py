"""``m2l2 demo``: the main job, from a dozen short tracks to an HTML report, offline."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from m2l2_mir.dataset.demo import demo_tracks
from m2l2_mir.embedding.extract import extract
from m2l2_mir.model.checkpoint import load_model
from m2l2_mir.report.demo_report import write_demo_report

__all__ = ["run_demo"]

UNTRAINED_NOTE = (
    "A random encoder keeps something of timbre and loudness, as any random projection of a spectrogram does. "
    "It has learned nothing about music: read this page as a tour of the pipeline."
)


def run_demo(out: Path, *, model: str, quick: bool, say: Callable[[str], None]) -> Path:
    """Render, embed and report into `out`; return the path of the report.

    Raises
    ------
    MissingExtraError
        The ``[render]`` extra is not installed.
    """
    network = load_model(model)
    say("Rendering tracks from public-domain scores ...")
    tracks = demo_tracks(out / "tracks", sample_rate=network.config.sample_rate, quick=quick)
    say(f"Embedding {len(tracks)} tracks with {network.weights_id} ...")
    store = extract(list(tracks["path"]), out=out / f"embeddings-{network.fingerprint}", model=network, keep="chunks")
    rows = {Path(path).name: row for row, path in enumerate(store.ok["path"])}
    order = [rows[Path(path).name] for path in tracks["path"]]
    vectors = store.embeddings()[order]
    first = store.ok["track_id"].iloc[order[0]]
    return write_demo_report(
        out,
        tracks=tracks,
        vectors=vectors,
        provenance=store.provenance,
        trained=store.trained,
        untrained_note=UNTRAINED_NOTE,
        chunk_vectors=store.chunks(first),
        chunk_seconds=network.config.chunk_seconds,
    )
