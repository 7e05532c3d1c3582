"""Spellings of labels as they are found in the wild, and the reasons for which some are dropped."""

from __future__ import annotations

import mir_eval
import pytest

from m2l2_mir.dataset.labels import KEYS, Unusable, canonical, tonic_and_mode


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("C major", "C major"),
        ("Cb Major", "B major"),
        ("Fb minor", "E minor"),
        ("E# minor", "F minor"),
        ("B# major", "C major"),
        ("A#:min", "Bb minor"),
        ("f#m", "F# minor"),
        ("GM", "G major"),
        ("Gm", "G minor"),
        ("C♯ maj", "Db major"),
        ("Bbb major", "A major"),
        (["Eb minor"], "Eb minor"),
        (["D# minor", "Eb minor"], "Eb minor"),  # one key twice
        (" d   minor ", "D minor"),
        ("8A", "A minor"),  # Camelot
        ("08b", "C major"),
        ("1B", "B major"),
        ("12A", "Db minor"),
        ("1m", "A minor"),  # Open Key
        ("1d", "C major"),
        ("12D", "F major"),
        (["8A", "Am", "1m"], "A minor"),
    ],
)
def test_keys(raw: object, expected: str) -> None:
    assert canonical("key", raw) == expected


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("X", "no key"),
        ("other", "no key"),
        ("", "no key"),
        ([], "no key"),
        (None, "no key"),
        (float("nan"), "no key"),
        ("C major / A minor", "several keys"),
        (["C major", "A minor"], "several keys"),
        ("C", "no mode"),
        ("D dorian", "neither major nor minor: 'dorian'"),
        ("H moll", "key not understood: 'H moll'"),
        (5, "key not understood: '5'"),
        ("13A", "key not understood: '13A'"),
        ("0d", "key not understood: '0d'"),
        ("8C", "key not understood: '8C'"),
    ],
)
def test_keys_that_are_dropped(raw: object, reason: str) -> None:
    with pytest.raises(Unusable) as error:
        canonical("key", raw)
    assert str(error.value) == reason


def test_every_key_is_one_that_mir_eval_accepts_and_counts_alike() -> None:
    assert len(set(KEYS)) == 24
    for name in KEYS:
        mir_eval.key.validate_key(name)
        tonic, mode = tonic_and_mode(name)
        assert mir_eval.key.split_key_string(name) == (tonic, mode)


@pytest.mark.parametrize(("minor", "major"), ["AB", "md"])
def test_the_wheels_of_djs_have_all_keys_and_neighbours_go_together(minor: str, major: str) -> None:
    """A step of the number is a fifth up, and the two keys of a number are relatives."""
    wheel = [(canonical("key", f"{hour}{minor}"), canonical("key", f"{hour}{major}")) for hour in range(1, 13)]
    assert {key for pair in wheel for key in pair} == set(KEYS)
    tonics = [(tonic_and_mode(below)[0], tonic_and_mode(above)[0]) for below, above in wheel]
    assert all((above - below) % 12 == 3 for below, above in tonics)
    assert all((tonics[hour][1] - tonics[hour - 1][1]) % 12 == 7 for hour in range(12))


@pytest.mark.parametrize(
    ("label", "raw", "expected"),
    [
        ("pitch", "A4", 69),
        ("pitch", "B#3", 60),
        ("pitch", "Cb4", 59),
        ("pitch", "C-1", 0),
        ("pitch", "60", 60),
        ("tempo", "120.5", 120.5),
        ("genre", "Hip-Hop", "hiphop"),
        ("genre", "hip hop", "hiphop"),
        ("instrument", "Electric_Guitar", "electric guitar"),
        ("mood", "Calm!", "Calm!"),
    ],
)
def test_other_labels(label: str, raw: object, expected: object) -> None:
    assert canonical(label, raw) == expected


@pytest.mark.parametrize(
    ("label", "raw", "reason"),
    [
        ("pitch", 300, "pitch outside MIDI 0 to 127"),
        ("pitch", 60.5, "pitch between two semitones"),
        ("pitch", "loud", "pitch is not a number: 'loud'"),
        ("tempo", 0, "tempo outside 20 to 400 bpm"),
        ("tempo", -1, "tempo outside 20 to 400 bpm"),
        ("tempo", float("inf"), "no tempo"),
        ("tempo", "fast", "tempo is not a number: 'fast'"),
        ("genre", " ", "no genre"),
        ("instrument", None, "no instrument"),
    ],
)
def test_other_labels_that_are_dropped(label: str, raw: object, reason: str) -> None:
    with pytest.raises(Unusable) as error:
        canonical(label, raw)
    assert str(error.value) == reason
