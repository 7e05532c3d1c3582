"""Metrics in a few words each, for who reads a report; the exact definitions are those of the modules of metrics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

__all__ = ["explain"]

_WORDS: dict[str, dict[str, str]] = {
    "key": {
        "accuracy": "the key is right, tonic and mode",
        "weighted": "mir_eval's score: 1 for the key, 0.5 for the fifth above, 0.3 relative, 0.2 parallel",
        "weighted_two_sided": "the same with 0.5 for the fifth below too, as MIREX has it",
        "tonic": "the tonic is right, whatever the mode",
        "mode": "major or minor is right, whatever the tonic",
        "macro_accuracy": "mean over true keys of the accuracy in each",
    },
    "pitch": {
        "exact": "the nearest MIDI number is the true one",
        "chroma": "the pitch class is right, whatever the octave",
        "within_semitone": "off by one semitone at most",
        "octave_error": "pitch class right, octave wrong",
        "absolute_error": "mean size of the error in semitones",
    },
    "tempo": {
        "acc1": "within 4 % of the true tempo",
        "acc2": "within 4 % of a third, half, once, twice or three times the true tempo",
        "aoe1": "mean size of log2(estimated / true): 1 is an octave",
        "aoe2": "the same after the best of these five factors",
        "r2": "share of the variance of log2 bpm that is explained",
    },
    "genre": {
        "accuracy": "the class is right",
        "macro_f1": "mean over classes of F1",
        "balanced_accuracy": "mean over true classes of the share that is right",
        "brier": "squared distance of the probabilities from the truth, 0 to 2, small is good",
    },
}


def explain(metrics: str, names: Iterable[str]) -> Mapping[str, str]:
    """Say what metrics are, by name; those that are not listed here are left out.

    >>> explain("tempo", ["acc1", "oe1"])
    {'acc1': 'within 4 % of the true tempo'}
    """
    words = _WORDS[metrics]
    return {name: words[name] for name in names if name in words}
