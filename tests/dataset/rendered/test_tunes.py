"""tunes-genre and tunes-tempo: beats where the label says, dances told by the tune alone, no tune on both sides."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from m2l2_mir.dataset.labels import Unusable, canonical
from m2l2_mir.dataset.rendered import scores, tunes
from m2l2_mir.dataset.rendered.clips import Clip, ClipSet
from m2l2_mir.dataset.rendered.corpus import load, load_many
from m2l2_mir.dataset.rendered.instruments import INSTRUMENTS
from m2l2_mir.dataset.rendered.parsing import Heading, Score, parse_abc
from m2l2_mir.dataset.rendered.soundfont import Soundfont
from m2l2_mir.dataset.rendered.tune_pool import DANCES, METERS, check_tune, dance_of, tune_families

pytest.importorskip("music21")
FONT = Soundfont(name="none", path=Path("none.sf2"), sha256="0", licence="", heard_in_training=False)
BEATS = {"2/2": 2.0, "2/4": 1.0, "3/4": 1.0, "4/4": 1.0, "6/8": 1.5, "9/8": 1.5}  # quarters


@pytest.fixture(scope="module")
def genre() -> ClipSet:
    return tunes.genre_clips(count=100, seed=0, fonts=[FONT])


@pytest.fixture(scope="module")
def tempo() -> ClipSet:
    return tunes.tempo_clips(count=36, seed=0, fonts=[FONT])


def abc(body: str, meter: str = "2/4") -> Score:
    return parse_abc("test/1", f"X:1\nT:A Tune\nM:{meter}\nL:1/8\nK:D\n{body}\n")


def bass_onsets(clip: Clip) -> np.ndarray:
    return np.array([note.onset for note in clip.notes if note.part == 2 and not note.drum])


def test_the_bass_keeps_the_labelled_tempo_throughout(tempo: ClipSet) -> None:
    for clip in tempo.clips:
        between = np.diff(bass_onsets(clip))
        np.testing.assert_allclose(between, 60 / clip.labels["tempo"], rtol=1e-9)
        # from one edge of the clip to the other
        assert len(between) >= int(tunes.SECONDS * clip.labels["tempo"] / 60) - 1


def test_the_beat_is_that_of_the_metre(tempo: ClipSet) -> None:
    for clip in tempo.clips:
        quarter = 60 / clip.labels["tempo"] / BEATS[clip.labels["meter"]]
        written = {round(length, 4) for _, length, _ in load(clip.labels["score"]).parts[0]}
        played = {round(note.duration / quarter, 4) for note in clip.notes if note.part == 0 and not note.drum}
        assert played <= written


def test_drums_are_on_the_beat(tempo: ClipSet) -> None:
    drummed = [clip for clip in tempo.clips if clip.labels["drums"]]
    assert 9 < len(drummed) < 27
    for clip in drummed:
        hits = np.array([note.onset for note in clip.notes if note.drum and note.pitch in (36, 38)])
        bass = bass_onsets(clip)
        np.testing.assert_allclose(hits[hits >= 0], bass[bass >= 0], atol=1e-9)
        hats = np.array([note.onset for note in clip.notes if note.drum and note.pitch == 42])
        divisions = 3 if BEATS[clip.labels["meter"]] == 1.5 else 2
        np.testing.assert_allclose(np.diff(hats), 60 / clip.labels["tempo"] / divisions, rtol=1e-9)
    assert not any(note.drum for clip in tempo.clips if not clip.labels["drums"] for note in clip.notes)


def test_tempi_are_spread_within_each_metre(tempo: ClipSet) -> None:
    assert Counter(clip.labels["meter"] for clip in tempo.clips) == dict.fromkeys(METERS, 6)
    for meter in METERS:
        bpm = np.array([clip.labels["tempo"] for clip in tempo.clips if clip.labels["meter"] == meter])
        share = np.log(bpm / tunes.BPM[0]) / np.log(tunes.BPM[1] / tunes.BPM[0])
        assert sorted((share * 6).astype(int)) == list(range(6))


def test_extrapolation_trains_on_the_middle_and_shares_no_tune(tempo: ClipSet) -> None:
    groups = defaultdict(set)
    for clip in tempo.clips:
        low, high = tunes.MIDDLE_BPM
        middle = low <= clip.labels["tempo"] <= high
        assert clip.labels["extrapolation"] in ((None, "train") if middle else (None, "test"))
        groups[clip.labels["extrapolation"]].add(clip.labels["group"])
    assert groups["train"]
    assert groups["test"]
    assert not groups["train"] & groups["test"]


def test_dances_are_in_balance_and_canonical(genre: ClipSet) -> None:
    assert Counter(clip.labels["genre"] for clip in genre.clips) == dict.fromkeys(DANCES, 25)
    assert all(canonical("genre", dance) == dance for dance in DANCES)
    assert {clip.labels["meter"] for clip in genre.clips if clip.labels["genre"] == "jig"} == {"6/8"}
    assert {clip.labels["meter"] for clip in genre.clips if clip.labels["genre"] == "slipjig"} == {"9/8"}


def test_rate_register_and_loudness_do_not_tell_the_dance(genre: ClipSet) -> None:
    rates = defaultdict(list)
    for clip in genre.clips:
        melody = [note for note in clip.notes if note.part == 0]
        assert len({note.velocity for note in melody}) == 1
        assert 62 <= np.median([note.pitch for note in melody]) <= 82
        assert len(melody) / clip.seconds == pytest.approx(clip.labels["notes_per_second"], rel=0.3)
        rates[clip.labels["genre"]].append(len(melody) / clip.seconds)
    means = [np.mean(own) for own in rates.values()]
    assert max(means) - min(means) < 0.8  # at equal beats, reels would be a third faster than jigs: 1.8


def test_drones_lie_on_the_tonic(genre: ClipSet) -> None:
    for clip in genre.clips:
        drone = [note.pitch for note in clip.notes if note.part == 1]
        assert bool(drone) == (clip.labels["texture"] == "drone")
        if drone:
            assert canonical("pitch", f"{clip.labels['tonic']}4") % 12 == drone[0] % 12
            assert drone[1] - drone[0] == 7


def test_players_are_in_tune_where_they_play(genre: ClipSet, tempo: ClipSet) -> None:
    table = {player.program: player for player in INSTRUMENTS}
    for clip in (*genre.clips, *tempo.clips):
        for note in clip.notes:
            assert note.drum or table[note.program].low <= note.pitch <= table[note.program].high


def test_same_seed_same_clips(genre: ClipSet, tempo: ClipSet) -> None:
    assert tunes.genre_clips(count=100, seed=0, fonts=[FONT]).clips == genre.clips
    assert tunes.tempo_clips(count=36, seed=0, fonts=[FONT]).clips == tempo.clips
    assert tunes.tempo_clips(count=6, seed=1, fonts=[FONT]).clips[0].notes != tempo.clips[0].notes


@pytest.mark.parametrize(
    ("dance", "meter", "expected"),
    [
        ("reel", "C|", "reel"),
        ("double jig", "6/8", "jig"),
        ("jig", "9/8", "slipjig"),
        ("slip jig", "9/8", "slipjig"),
        ("jig", "2/4", "a jig in neither 6/8 nor 9/8"),
        ("clog", "C|", "a dance of fewer than 100 tunes"),
        ("", "6/8", "no dance stated"),
    ],
)
def test_dances_in_one_spelling(dance: str, meter: str, expected: str) -> None:
    try:
        found = dance_of(Heading(name="", title="", dance=dance, meter=meter))
    except Unusable as reason:
        found = str(reason)
    assert found == expected


EIGHT_BARS = "A2 B2|c2 d2|e2 d2|c2 B2|A2 c2|B2 A2|e2 f2|"


def test_a_tune_in_which_the_beat_moves_is_refused() -> None:
    check_tune(abc(EIGHT_BARS + "d4|"))
    with pytest.raises(Unusable, match="different lengths"):
        check_tune(replace(abc("A2 B2|c2 d|" + EIGHT_BARS + "d4|"), steady=True))
    with pytest.raises(Unusable, match="fewer than 8 bars"):
        check_tune(abc("A2 B2|c2 d2|"))


def test_a_bar_split_between_strains_is_accompanied() -> None:
    # the seam holds three eighths and a pick-up of one: two beats as in any other bar
    tune = abc("f|d2 A2|d3:|f|e2 c2|A3:|")
    bass = [note for note in scores.accompanied(tune, quarters_per_minute=60) if note.part == 2]
    assert [note.onset for note in bass] == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5]
    after = [note.onset for note in scores.accompanied(tune, quarters_per_minute=60) if note.part == 1]
    assert sorted(set(after))[:2] == [1.0, 2.0]


@pytest.mark.parametrize(("meter", "late"), [("2/2", 1.0), ("6/8", 1.0), ("9/8", 1.0), ("2/4", 0.5)])
def test_chords_come_on_a_division_of_the_beat(meter: str, late: float) -> None:
    body = {"2/2": "A2 B2 c2 d2", "6/8": "ABc def", "9/8": "ABc def gab", "2/4": "A2 B2"}[meter]
    notes = scores.accompanied(abc(f"{body}|{body}|", meter), quarters_per_minute=60)
    assert min(note.onset for note in notes if note.part == 1) == pytest.approx(late)


@pytest.mark.parametrize("ending", ["e3|", "e4|"])  # with and without room for the pick-up
def test_a_repeat_does_not_lose_the_beat(ending: str) -> None:
    twice = scores.repeated(abc("f|d2 A2|d2 A2|" + ending), 3)
    bass = [note.onset for note in scores.accompanied(twice, quarters_per_minute=60) if note.part == 2]
    np.testing.assert_allclose(np.diff(bass), 1.0)
    assert len(twice.parts[0]) == 3 * 6


def test_excerpt_and_transposition() -> None:
    score = scores.transposed(abc("d2 A2|"), 5)
    assert (score.tonic, [pitch for *_, pitch in score.parts[0]]) == (7, [79, 74])
    notes = scores.excerpt(scores.voiced(score.parts, quarters_per_minute=60), start=1.0, seconds=1.0)
    assert [(note.onset, note.duration, note.pitch) for note in notes] == [(0.0, 1.0, 74)]


# They share more than half of their windows, and neither title nor opening.
SAME_TUNE = [
    ("oneills1850/1476-1555/1509", "ryansMammoth/PaddyOnTheRailroadReel"),  # The Merry Blacksmith
    ("oneills1850/1701-1780/1753", "ryansMammoth/ElksFestivalHornpipe"),  # The Londonderry Hornpipe
    ("oneills1850/1556-1624/1604", "oneills1850/1701-1780/1740"),  # Coey's Hornpipe, The Southern Shore
]


def test_tunes_that_share_much_of_the_melody_are_one_group(genre: ClipSet) -> None:
    known = {name for pair in SAME_TUNE for name in pair} | {clip.labels["score"] for clip in genre.clips}
    pool = list(load_many(sorted(known)))
    groups = tune_families({"all": pool})
    for one, other in SAME_TUNE:
        assert groups[one] == groups[other]

    def windows(score: Score) -> set[tuple[int, ...]]:
        """Eight halves (in three eighths: thirds) of a beat at a time, from the first full bar on."""
        melody = score.parts[0]
        step = 0.5 if score.beat in (1.0, 1.5) else 1.0
        time, line = scores.bar_grid(score)[0][0], []
        while time < score.end:
            found = [pitch for start, length, pitch in melody if start <= time < start + length]
            line.append((found[0] - score.tonic) % 12 if found else -1)
            time += step
        return {tuple(line[place : place + 8]) for place in range(len(line) - 7)}

    sets = {score.name: windows(score) for score in pool}
    apart = [(sets[one], sets[two]) for one, two in itertools.combinations(sets, 2) if groups[one] != groups[two]]
    assert max(len(one & two) / min(len(one), len(two)) for one, two in apart) <= 0.32
    for one, other in SAME_TUNE:
        assert len(sets[one] & sets[other]) > 0.5 * min(len(sets[one]), len(sets[other]))
    assert max(Counter(groups.values()).values()) <= 7  # of all 2,481; a chain through everything would be one group
