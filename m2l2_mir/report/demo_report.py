"""The page `m2l2 demo` leaves behind: a small library seen through its summary embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from m2l2_mir.durable import write_durably
from m2l2_mir.report import figures, page
from m2l2_mir.report.library import NEIGHBOURS, Library, heading, legend, load_library, player, row_line
from m2l2_mir.report.neighbours import (
    Agreement,
    agreement,
    centred_cosine,
    nearest,
    principal_plane,
)
from m2l2_mir.report.page import escape

UNTRAINED_BADGE = "untrained weights"
_LABELS = {"piece": "piece", "instrument": "instrument"}


def write_demo_report(
    out: Path,
    *,
    tracks: pd.DataFrame,
    vectors: np.ndarray,
    provenance: Mapping[str, object],
    trained: bool,
    untrained_note: str = "",
    chunk_vectors: np.ndarray | None = None,
    chunk_seconds: float | None = None,
    more: Sequence[str] = (),
) -> Path:
    """Write the report on a small library as one offline page.

    Parameters
    ----------
    out : Path
        Folder of the page; made if need be.
    tracks : pandas.DataFrame
        Columns ``track_id``, ``title`` and ``path``; ``piece`` and ``instrument``, where there are any, group
        the tracks; other columns from :func:`m2l2_mir.dataset.rendered.demo.demo_tracks` are printed.
        ``attrs["credits"]``, a list of str, is printed at the end.
    vectors : np.ndarray [shape=(n, K, d)]
        Summary of each track, in the order of ``tracks``.
    provenance : mapping
        Whatever made the numbers: weights, settings, versions.
    trained : bool
        False puts a badge on the page.
    untrained_note : str
        What stands beside the badge.
    chunk_vectors : np.ndarray [shape=(chunks, K, d)], optional
        Chunks of the first track, to show how its summary moves in time.
    chunk_seconds : float, optional
        Length of a chunk, for a time axis in seconds.
    more : sequence of str
        Further sections (HTML), before the one on where the numbers come from.

    Returns
    -------
    Path
        ``out/index.html``, complete or not there at all.

    Raises
    ------
    InputError
        If ``vectors`` and ``tracks`` do not fit together or a number is not finite.
    """
    library = load_library(tracks, np.asarray(vectors, dtype=np.float64))
    n, k, d = library.vectors.shape
    sections = [
        _tracks_section(library),
        _first_track_section(library, chunk_vectors, chunk_seconds),
    ]
    if n > 1:
        sections += [_map_section(library), _neighbours_section(library), _reading_section(library, trained)]
    sections += more
    sections.append(_provenance_section(provenance, tracks.attrs.get("credits", [])))
    text = page.page(
        f"{n} tracks in {k}\u00a0×\u00a0{d} numbers",
        *sections,
        lede=(
            f"Each track was cut into chunks, each chunk encoded as {k} summary embeddings of {d} numbers, "
            "and the chunks averaged; this page shows what those numbers tell apart and what they do not."
        ),
        badge="" if trained else UNTRAINED_BADGE,
        badge_note="" if trained else untrained_note,
    )
    path = Path(out) / "index.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_durably(path, lambda file: file.write(text.encode("utf-8")))
    return path


def _tracks_section(library: Library) -> str:
    difference = library.vectors - library.vectors.mean(axis=0)
    limit = figures.colour_limit(difference)
    cards = []
    for row, drawing in enumerate(figures.small_multiples(difference, limit=limit)):
        title = str(library.tracks.at[row, "title"])
        svg = page.figure_svg(
            drawing, alt=f"Heat map of {title}: difference from the library mean", identifier=f"map{row}"
        )
        cards.append(f'<article class="card">{heading(library, row)}{svg}{player(library, row)}</article>')
    n, k, d = library.vectors.shape
    scale = page.figure_svg(
        figures.colour_scale(limit, label="difference from the library mean"),
        alt=f"Colour scale from minus {limit:.2g} to plus {limit:.2g}, blank at zero",
        identifier="scale",
    )
    intro = (
        f"One card a track: its {k} embeddings (rows) of {d} dimensions (columns), minus the mean of all {n} "
        "tracks, all on one scale. Patterns that return within a piece, or within an instrument, are what "
        "the comparisons further down rest on."
    )
    grid = f'<div class="grid">{"".join(cards)}</div>'
    return page.section("The tracks", f'<div class="scale">{scale}</div>', grid, intro=intro)


def _first_track_section(library: Library, chunk_vectors: np.ndarray | None, chunk_seconds: float | None) -> str:
    first = library.vectors[0]
    difference = first - library.vectors.mean(axis=0)
    panels = []
    for name, matrix, caption in (
        ("whole", first, "The summary itself"),
        ("difference", difference, "Minus the library mean: what sets this track apart"),
    ):
        limit = figures.colour_limit(matrix)
        svg = page.figure_svg(figures.heat_map(matrix, limit=limit), alt=caption, identifier=name)
        panels.append(page.figure(svg, caption=f"{escape(caption)}. Full colour at ±{limit:.2g}."))
    cards = f'<div class="card stack">{"".join(panels)}</div>'
    if chunk_vectors is not None and len(chunk_vectors) > 1:
        drawing = figures.evolution(np.asarray(chunk_vectors, dtype=np.float64), chunk_seconds=chunk_seconds)
        svg = page.figure_svg(drawing, alt="Distance of each chunk from the track mean", identifier="time")
        caption = (
            f"How far each of its {len(chunk_vectors)} chunks lies from the track's mean, embedding by "
            "embedding, strongest colour farthest: such a cell is a moment that the average hides."
        )
        cards += f'<div class="card">{page.figure(svg, caption=caption)}</div>'
    html = f'<div class="pair">{cards}</div>'
    return page.section("One track in full", html, intro=str(library.tracks.at[0, "title"]))


def _map_section(library: Library) -> str:
    points, shares = principal_plane(library.vectors)
    numbers = [str(row + 1) for row in range(len(points))]
    pieces, instruments = library.codes("piece"), library.codes("instrument")
    drawing = figures.plane_map(points, shares, labels=numbers, colours=pieces, markers=instruments)
    plane = page.figure_svg(drawing, alt="Tracks on their first two principal components", identifier="plane")
    limit = figures.colour_limit(library.similarity[~np.eye(len(points), dtype=bool)])
    drawing = figures.similarity_matrix(library.similarity, limit=limit, labels=numbers, colours=pieces)
    matrix = page.figure_svg(drawing, alt="Cosine similarity of every pair of tracks", identifier="matrix")
    left = page.figure(plane, caption=legend(library))
    right = page.figure(
        matrix,
        caption=(
            f"Cosine similarity: rust positive, blue negative, full colour at ±{limit:.2g}, the diagonal "
            "left out. Numbers as on the cards, coloured by piece."
        ),
    )
    intro = (
        f"Left: the {len(points)} summaries, flattened, on the plane that keeps most of their variance "
        f"({shares.sum():.0%} of it); what lies outside it is not seen. Right: all of it, pair by pair."
    )
    html = f'<div class="pair"><div class="card">{left}</div><div class="card">{right}</div></div>'
    return page.section("Who is near whom", html, intro=intro)


def _neighbours_section(library: Library) -> str:
    ranks = ["nearest", "second", "third"][: library.neighbours.shape[1]]
    head = "".join(f'<th scope="col">{rank}</th>' for rank in ranks)
    rows = []
    for row, others in enumerate(library.neighbours):
        cells = "".join(f"<td>{_neighbour(library, row, int(other))}</td>" for other in others)
        rows.append(f'<tr><th scope="row">{row_line(library, row)}</th>{cells}</tr>')
    html = (
        f'<table class="neighbours"><thead><tr><th scope="col">track</th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )
    intro = (
        "By cosine similarity of the flattened summaries, the library mean taken off. "
        "Shared labels are named; a neighbour that shares neither is left without."
    )
    return page.section("Nearest neighbours", html, intro=intro)


def _reading_section(library: Library, trained: bool) -> str:
    n = len(library.tracks)
    representations = {"summary embeddings" if trained else "summary embeddings, untrained": library.neighbours}
    if library.spectra is not None:
        spectral = nearest(centred_cosine(library.spectra), count=NEIGHBOURS)
        representations["average spectrum, no model"] = spectral
    rows, sentences = [], []
    for column, label in _LABELS.items():
        if column not in library.tracks or library.tracks[column].nunique() < 2:
            continue
        for name, neighbours in representations.items():
            score = agreement(neighbours, library.tracks[column].astype(str).tolist())
            rows.append(_agreement_row(label, name, score))
            if neighbours is library.neighbours:
                sentences.append(
                    f"{score.shared} of {score.pairs} neighbours share the {label} where chance would give "
                    f"{score.expected:.1f} ({score.low} to {score.high} in 95% of random labellings): "
                    f"{score.verdict} the range of chance."
                    + (
                        " With so few tracks not even perfect neighbours would leave it."
                        if score.attainable <= score.high
                        else ""
                    )
                )
    notes = [
        *sentences,
        f"n = {n} tracks and {library.neighbours.size} neighbour pairs, which overlap: enough to see whether "
        "the library hangs together, too few to rank models by.",
        "Tracks of one piece share its key, tempo, style and notes all at once. Neighbours cannot say which "
        "of these the embeddings picked up; probes and the disentanglement analysis can.",
        "The average spectrum is the bar to clear: it hears timbre and register, but not order or rhythm.",
    ]
    if not trained:
        notes.append(
            "The encoder is random. Whatever structure shows comes from the spectrogram and the "
            "architecture, not from learning, and must not be quoted as a result."
        )
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    blocks = [f'<ul class="prose">{items}</ul>']
    if rows:
        numeric = ["shared", "chance", "95% of chance"]
        blocks.append(page.table(pd.DataFrame(rows), numeric=numeric))
    return page.section("How to read this", *blocks)


def _agreement_row(label: str, name: str, score: Agreement) -> dict[str, str]:
    return {
        "neighbours that share the": label,
        "by": name,
        "shared": f"{score.shared} of {score.pairs} ({score.shared / score.pairs:.0%})",
        "chance": f"{score.expected:.1f} ({score.expected / score.pairs:.0%})",
        "95% of chance": f"{score.low} to {score.high}",
    }


def _provenance_section(provenance: Mapping[str, object], credits: list[str]) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in credits)
    return page.section(
        "Where it comes from",
        page.definitions(provenance),
        f'<ul class="credits">{items}</ul>' if items else "",
    )


def _neighbour(library: Library, row: int, other: int) -> str:
    shared = [
        label
        for column, label in _LABELS.items()
        if column in library.tracks and str(library.tracks.at[row, column]) == str(library.tracks.at[other, column])
    ]
    text = f"same {' and '.join(shared)}" if shared else ""
    mark = f", <b>{text}</b>" if text else ""
    return row_line(library, other, f"<small>{library.similarity[row, other]:+.2f}{mark}</small>")
