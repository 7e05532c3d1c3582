"""The demo page and the numbers on it, from vectors with known neighbours."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from m2l2_mir.errors import InputError
from m2l2_mir.report import figures, page
from m2l2_mir.report.demo_report import UNTRAINED_BADGE, write_demo_report
from m2l2_mir.report.neighbours import agreement, centred_cosine, nearest, principal_plane

HOSTILE = '<script>alert("1")</script>'


class _Reader(HTMLParser):
    """Collects tags with their attributes, text, and elements left open."""

    VOID = frozenset({"meta", "link", "br", "img", "input"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.rows: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)
        if "tr" in self.open:
            self.rows[-1] += data


@pytest.fixture
def library(tmp_path: Path) -> tuple[pd.DataFrame, np.ndarray]:
    """Six tracks in pairs that point the same way: 0-1, 2-3 and 4-5 are each other's nearest."""
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(3, 8, 16))
    vectors = np.repeat(directions, 2, axis=0) + 0.1 * rng.normal(size=(6, 8, 16))
    titles = ["First", HOSTILE, "Third", "Fourth & fifth", "Sixth", "Łódź"]
    for row in range(6):
        tone = 0.1 * np.sin(2 * np.pi * 220 * (row + 1) * np.arange(8000) / 16_000)
        soundfile.write(tmp_path / f"{row}.flac", tone, 16_000)
    tracks = pd.DataFrame(
        {
            "track_id": [f"t{row}" for row in range(6)],
            "title": titles,
            "path": [str(tmp_path / f"{row}.flac") for row in range(6)],
            "piece": ["a", "a", "b", "b", "c", "c"],
            "instrument": ["x", "y"] * 3,
        }
    )
    tracks.attrs["credits"] = ["Scores: <nobody>"]
    return tracks, vectors


def write(library: tuple[pd.DataFrame, np.ndarray], out: Path, *, trained: bool = True) -> str:
    tracks, vectors = library
    path = write_demo_report(
        out,
        tracks=tracks,
        vectors=vectors,
        provenance={"model": "<m>", "config": {"K": 8}},
        trained=trained,
        untrained_note="why & wherefore",
        chunk_vectors=np.random.default_rng(1).normal(size=(9, 8, 16)),
        chunk_seconds=0.74,
    )
    assert [entry.name for entry in out.iterdir()] == ["index.html"]
    return path.read_text(encoding="utf-8")


def test_page_is_well_formed_escaped_and_complete(library: tuple[pd.DataFrame, np.ndarray], tmp_path: Path) -> None:
    text = write(library, tmp_path / "report")
    reader = _Reader(text)
    assert reader.open == []
    assert [tag for tag, _ in reader.tags].count("script") == 1  # the page's own
    assert HOSTILE not in text
    assert "<m>" not in text
    assert "<nobody>" not in text
    shown = "".join(reader.text)
    for title in library[0]["title"]:
        assert title in shown
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert sum(tag == "audio" for tag, _ in reader.tags) == 6
    figures_drawn = [attributes for tag, attributes in reader.tags if tag == "svg" and "aria-hidden" not in attributes]
    assert len(figures_drawn) == 6 + 1 + 2 + 1 + 2
    assert all(attributes["aria-label"] for attributes in figures_drawn)


def test_page_asks_for_nothing_from_outside(library: tuple[pd.DataFrame, np.ndarray], tmp_path: Path) -> None:
    text = write(library, tmp_path / "report")
    for _, attributes in _Reader(text).tags:
        for name in ("src", "href", "xlink:href", "data", "srcset", "action"):
            assert (attributes.get(name) or "#").startswith(("#", "data:"))
    assert not re.search(r"https?:|@import|url\((?!#)", text)
    assert len(text) < 6_000_000


def test_badge_only_if_untrained(library: tuple[pd.DataFrame, np.ndarray], tmp_path: Path) -> None:
    untrained = write(library, tmp_path / "untrained", trained=False)
    assert UNTRAINED_BADGE in untrained
    assert "why &amp; wherefore" in untrained
    trained = write(library, tmp_path / "trained", trained=True)
    assert UNTRAINED_BADGE not in trained
    assert "why &amp; wherefore" not in trained
    assert "random" not in trained.replace("random labellings", "")


def test_nearest_neighbour_is_the_right_one(library: tuple[pd.DataFrame, np.ndarray], tmp_path: Path) -> None:
    rows = _Reader(write(library, tmp_path / "report")).rows
    titles = list(library[0]["title"])
    for row, partner in enumerate([1, 0, 3, 2, 5, 4]):
        line = next(line for line in rows if line.startswith(f"{row + 1} {titles[row]}"))
        assert line.startswith(f"{row + 1} {titles[row]}{partner + 1} {titles[partner]}+")
    # Each of the six finds the one other track of its piece among its three neighbours.
    assert any("piece" in line and "6 of 18" in line and "3.6 (20%)" in line for line in rows)


def test_unreadable_sound_is_said_and_the_rest_goes_on(
    library: tuple[pd.DataFrame, np.ndarray], tmp_path: Path
) -> None:
    Path(library[0]["path"][2]).write_bytes(b"")
    text = write(library, tmp_path / "report")
    assert text.count("The sound file could not be read.") == 1
    assert text.count("<audio") == 5
    assert "average spectrum, no model" not in text


def test_misfitting_vectors_are_refused(library: tuple[pd.DataFrame, np.ndarray], tmp_path: Path) -> None:
    tracks, vectors = library
    for bad in (vectors[:5], vectors[:, 0], np.full_like(vectors, np.nan)):
        with pytest.raises(InputError):
            write_demo_report(tmp_path / "r", tracks=tracks, vectors=bad, provenance={}, trained=True)
    assert not (tmp_path / "r").exists()


def test_one_track_alone_still_makes_a_page(library: tuple[pd.DataFrame, np.ndarray], tmp_path: Path) -> None:
    tracks, vectors = library
    path = write_demo_report(tmp_path, tracks=tracks[:1], vectors=vectors[:1], provenance={}, trained=True)
    assert "Nearest neighbours" not in path.read_text(encoding="utf-8")


def test_library_mean_is_taken_off_before_the_cosine() -> None:
    vectors = np.array([[1.0, 0.1], [1.0, -0.1], [1.0, 0.2]]) + 100  # all but parallel as they stand
    similarity = centred_cosine(vectors)
    assert similarity[0, 2] == pytest.approx(1)
    assert similarity[0, 1] == pytest.approx(-1)
    assert nearest(similarity, count=1).ravel().tolist() == [2, 0, 0]
    np.testing.assert_array_equal(centred_cosine(np.ones((3, 4))), np.zeros((3, 3)))


def test_chance_is_exact_and_its_range_holds_it() -> None:
    # 12 tracks in 4 groups of 3, neighbours at random: chance is 2/11 of 36 pairs.
    rng = np.random.default_rng(0)
    neighbours = nearest(rng.normal(size=(12, 12)), count=3)
    score = agreement(neighbours, np.repeat(["a", "b", "c", "d"], 3))
    assert score.expected == pytest.approx(36 * 2 / 11)
    assert score.low < score.expected < score.high
    assert score.verdict == "within"
    perfect = np.array([[row - row % 3 + (row + step) % 3 for step in (1, 2)] for row in range(12)])
    score = agreement(perfect, list("aaabbbcccddd"))
    assert (score.shared, score.attainable, score.verdict) == (24, 24, "above")
    # Two groups of three fall together again in one labelling of ten: six tracks cannot leave chance behind.
    score = agreement(perfect[:6], list("aaabbb"))
    assert (score.high, score.attainable, score.verdict) == (12, 12, "within")


def test_principal_plane_keeps_distances_of_flat_data() -> None:
    rng = np.random.default_rng(0)
    flat = rng.normal(size=(7, 2)) @ np.linalg.qr(rng.normal(size=(20, 2)))[0].T
    points, shares = principal_plane(flat.reshape(7, 4, 5))
    assert shares.sum() == pytest.approx(1)
    assert shares[0] >= shares[1]
    wanted = np.linalg.norm(flat[:, None] - flat[None], axis=2)
    np.testing.assert_allclose(np.linalg.norm(points[:, None] - points[None], axis=2), wanted, atol=1e-9)


def test_zero_is_blank_and_signs_differ() -> None:
    drawing = figures.heat_map(np.array([[-1.0, 0.0, 1.0]]), limit=1.0)
    pixels = np.asarray(drawing.axes[0].images[0].get_array())
    assert pixels[0, :, 3].tolist() == [1, 0, 1]
    assert pixels[0, 0, 2] > pixels[0, 0, 0]  # blue below zero
    assert pixels[0, 2, 0] > pixels[0, 2, 2]  # rust above


def test_table_escapes_names_and_cells() -> None:
    text = page.table(pd.DataFrame({"<a>": ["<b>", 1]}), numeric=["<a>"])
    assert "<a>" not in text
    assert "<b>" not in text
    assert text.count('class="number"') == 3
