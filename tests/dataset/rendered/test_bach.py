"""bach-key: labels that the notes confirm, keys in balance, melodies in one group."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from m2l2_mir.dataset.labels import KEYS, Unusable, tonic_and_mode
from m2l2_mir.dataset.rendered import bach
from m2l2_mir.dataset.rendered.clips import Clip, ClipSet
from m2l2_mir.dataset.rendered.corpus import load, load_many
from m2l2_mir.dataset.rendered.instruments import INSTRUMENTS
from m2l2_mir.dataset.rendered.parsing import Score
from m2l2_mir.dataset.rendered.scores import voices
from m2l2_mir.dataset.rendered.soundfont import Soundfont

pytest.importorskip("music21")
COUNT = 72
# Temperley's profiles from the Kostka-Payne corpus (Music and Probability, 2007)
PROFILES = {
    "major": [0.748, 0.060, 0.488, 0.082, 0.670, 0.460, 0.096, 0.715, 0.104, 0.366, 0.057, 0.400],
    "minor": [0.712, 0.084, 0.474, 0.618, 0.049, 0.460, 0.105, 0.747, 0.404, 0.067, 0.133, 0.330],
}
FONT = Soundfont(name="none", path=Path("none.sf2"), sha256="0", licence="", heard_in_training=False)


@pytest.fixture(scope="module")
def planned() -> ClipSet:
    return bach.clips(count=COUNT, seed=0, fonts=[FONT])


def histogram(clip: Clip) -> np.ndarray:
    """Seconds that each pitch class sounds in a clip."""
    sounding = np.zeros(12)
    for note in clip.notes:
        sounding[note.pitch % 12] += note.duration + min(note.onset, 0.0)
    return sounding


def likeliest_key(sounding: np.ndarray) -> tuple[int, str]:
    keys = [(tonic, mode) for mode in PROFILES for tonic in range(12)]
    return max(keys, key=lambda key: np.corrcoef(np.roll(PROFILES[key[1]], key[0]), sounding)[0, 1])


def test_label_is_the_key_of_the_notes(planned: ClipSet) -> None:
    keys = [tonic_and_mode(clip.labels["key"]) for clip in planned.clips]
    found = [likeliest_key(histogram(clip)) for clip in planned.clips]
    # a profile alone is not beyond error; a label off by a semitone anywhere would leave next to nothing
    assert np.mean([one == other for one, other in zip(keys, found, strict=True)]) > 0.75
    off = Counter((one[0] - other[0]) % 12 for one, other in zip(keys, found, strict=True))
    assert {1, 6, 11}.isdisjoint(off)


def test_the_clip_ends_with_the_tonic_in_the_bass(planned: ClipSet) -> None:
    for clip in planned.clips:
        tonic, mode = tonic_and_mode(clip.labels["key"])
        end = max(note.onset + note.duration for note in clip.notes)
        assert end == pytest.approx(bach.SECONDS - bach.RELEASE_SECONDS)
        last = [note for note in clip.notes if note.onset + note.duration > end - 1e-6]
        assert min(last, key=lambda note: note.pitch).pitch % 12 == tonic
        assert mode == "minor" or all(note.pitch % 12 != (tonic + 3) % 12 for note in last)
        assert min(note.onset for note in clip.notes) <= 1.5  # the whole clip is music


def test_keys_in_balance_and_pieces_in_several_keys(planned: ClipSet) -> None:
    assert Counter(clip.labels["key"] for clip in planned.clips) == dict.fromkeys(KEYS, COUNT // 24)
    uses = Counter(clip.labels["score"] for clip in planned.clips)
    pairs = {(clip.labels["score"], clip.labels["key"]) for clip in planned.clips}
    assert set(uses.values()) == {2}
    assert len(pairs) == len({clip.track_id for clip in planned.clips}) == COUNT
    assert {clip.labels["transposition"] for clip in planned.clips} == set(range(-6, 6))


def test_a_piece_used_often_is_spread_over_the_tonics() -> None:
    scores = [load("bach/bwv358"), load("bach/bwv227.1")]
    found = list(bach._transpositions(np.random.default_rng(0), scores, 24))
    assert Counter((score.name, tonic) for score, tonic in found) == {
        (score.name, tonic): 1 for score in scores for tonic in range(12)
    }


def test_players_are_in_tune_where_they_play(planned: ClipSet) -> None:
    table = {player.program: player for player in INSTRUMENTS}
    for clip in planned.clips:
        assert all(table[note.program].low <= note.pitch <= table[note.program].high for note in clip.notes)
    casts = [len({note.program for note in clip.notes}) for clip in planned.clips]
    assert {1, 4} <= set(casts)


def test_same_seed_same_clips(planned: ClipSet) -> None:
    again = bach.clips(count=COUNT, seed=0, fonts=[FONT])
    assert [clip.labels for clip in again.clips] == [clip.labels for clip in planned.clips]
    assert [clip.notes for clip in again.clips] == [clip.notes for clip in planned.clips]
    other = bach.clips(count=24, seed=1, fonts=[FONT])
    assert {clip.labels["score"] for clip in other.clips} != {clip.labels["score"] for clip in planned.clips[:24]}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bach/bwv358", (2, "minor")),
        ("bach/bwv140.7", (3, "major")),
        ("bach/bwv254", "final bass note is not the tonic"),  # Dorian, encoded as A minor, ends on D
        ("bach/bwv153.5", "final bass note is not the tonic"),  # Phrygian, encoded as A minor, ends on E
        ("bach/bwv846", "not in four voices"),  # a prelude for keyboard
        ("bach/bwv248.64-6", "the voices pause before the end"),  # trumpets play
        ("bach/bwv70.11", "no mode stated"),
        ("bach/bwv304", "key or metre changes"),
    ],
)
def test_what_is_dropped_and_why(name: str, expected: object) -> None:
    try:
        found: object = bach.confirmed_key(load(name))
    except Unusable as reason:
        found = str(reason)
    assert found == expected


def test_a_minor_end_contradicts_major_and_a_picardy_third_does_not_contradict_minor() -> None:
    score = load("bach/bwv140.7")
    altos = score.part_names.index("Alto")
    start, length, _ = score.parts[altos][-1]
    lowered = (*score.parts[altos][:-1], (start, length, 66))  # G flat, in E flat major
    parts = tuple(lowered if index == altos else part for index, part in enumerate(score.parts))
    with pytest.raises(Unusable, match="minor in a major key"):
        bach.confirmed_key(replace(score, parts=parts))
    chord = {part[-1][2] % 12 for part in load("bach/bwv358").parts}
    assert 6 in chord  # F sharp, in D minor


def test_harmonisations_of_one_melody_are_one_group(planned: ClipSet) -> None:
    first, second = bach._identity(load("bach/bwv244.54")), bach._identity(load("bach/bwv135.6"))
    assert first & second  # the title of the second is not known: its melody tells
    assert not first & bach._identity(load("bach/bwv358"))
    assert bach._identity(load("bach/bwv144.3")) & bach._identity(load("bach/bwv250"))  # only the title tells
    assert not bach._identity(load("bach/bwv248.9-s")) & bach._identity(load("bach/bwv248.42-s"))  # no titles
    groups = {clip.labels["score"]: clip.labels["group"] for clip in planned.clips}
    assert all(groups[clip.labels["score"]] == clip.labels["group"] for clip in planned.clips)
    assert set(planned.dropped.columns) == {"track_id", "label", "reason"}
    assert not set(planned.dropped["track_id"]) & set(groups)


# Neither title nor opening tells that these end alike, and the end is what a clip holds.
SAME_END = [
    *(("99.6", other) for other in ("144.3", "250", "69.6-a", "12.7")),
    ("149.7", "245.40"),
    ("130.6", "326"),
    ("130.6", "327"),
    ("353", "404"),
    ("177.5", "185.6"),
    ("244.29-a", "124.6"),
    ("124.6", "380"),
]


@pytest.fixture(scope="module")
def pieces(planned: ClipSet) -> list[Score]:
    """Those of the small set, and those of SAME_END."""
    known = {f"bach/bwv{number}" for pair in SAME_END for number in pair}
    return list(load_many(sorted(known | {clip.labels["score"] for clip in planned.clips})))


@pytest.fixture(scope="module")
def groups(pieces: list[Score]) -> dict[str, str]:
    return bach._melody_families(pieces)


@pytest.mark.parametrize(("one", "other"), SAME_END)
def test_melodies_that_end_alike_are_one_group(groups: dict[str, str], one: str, other: str) -> None:
    assert groups[f"bach/bwv{one}"] == groups[f"bach/bwv{other}"]


def test_no_two_groups_end_alike(pieces: list[Score], groups: dict[str, str]) -> None:
    def last_quarters(score: Score) -> list[int | None]:
        soprano, *_, bass = voices(score)
        end = bass[-1][0] + bass[-1][1]
        moments = [end - quarter for quarter in range(24, 0, -1)]
        found = [[pitch for start, length, pitch in soprano if start <= time < start + length] for time in moments]
        return [(sounding[0] - score.tonic) % 12 if sounding else None for sounding in found]

    def alike(one: list[int | None], other: list[int | None]) -> float:
        """The larger share of equal quarters over shifts by up to two."""
        shifted = [(one[shift:], other) for shift in range(3)] + [(one, other[shift:]) for shift in range(3)]
        return max(np.mean([x is not None and x == y for x, y in zip(*pair, strict=False)]) for pair in shifted)

    ends = {score.name: last_quarters(score) for score in pieces}
    pairs = list(itertools.combinations(ends, 2))
    # quarters here, halves of a quarter there, at 0.7: the largest of all 310 pieces is 0.73
    assert max(alike(ends[one], ends[two]) for one, two in pairs if groups[one] != groups[two]) < 0.79
    assert max(Counter(groups.values()).values()) <= 11  # of all 310; a chain through everything would be one group
    assert len(set(groups.values())) > len(pieces) / 2.5
