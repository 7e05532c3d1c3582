"""What a fitted probe says of itself: where it comes from, what it was fitted on, what it is worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from m2l2_mir.errors import ConfigError
from m2l2_mir.probe.task import READOUTS, Metrics, Task, is_regression

__all__ = ["Facts"]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a fitted probe is, as ``probe.json`` has it.

    Parameters
    ----------
    probe, title, label
        Of the recipe, and the column that is predicted.
    metrics, bins_per_octave, reach_bins, readout
        See :class:`m2l2_mir.probe.task.Task`.
    classes
        Of the read-out's logits, in order; empty of a regression.
    row
        Of the run that it comes from.
    dataset
        It was fitted on: name, title, licence, citation, split and hash of the manifest.
    weights_licence, weights_citation
        Of the model.
    training_tracks
        SHA-256 of the audio by track id.
    score
        Cross-validated: metric, estimate, low, high, scored, expected, seeds.
    selected
        Penalty or epochs.
    notes
        What has to be said with every estimate.
    run
        Hash of the settings of the run.
    versions
        Of the packages that fitted it.
    """

    probe: str
    title: str
    label: str
    metrics: Metrics
    bins_per_octave: int
    reach_bins: int
    readout: str
    classes: tuple[str | int, ...]
    row: str
    dataset: Mapping[str, Any]
    weights_licence: str
    weights_citation: str
    training_tracks: Mapping[str, str]
    score: Mapping[str, Any]
    selected: float | None
    notes: tuple[str, ...]
    run: str
    versions: Mapping[str, Any]

    @property
    def task(self) -> Task:
        """How answers become estimates."""
        if self.readout not in READOUTS:
            raise ConfigError(f"no read-out {self.readout!r}; there are {', '.join(READOUTS)}")
        return Task(
            metrics=self.metrics,
            regression=is_regression(self.readout),
            bins_per_octave=self.bins_per_octave,
            reach_bins=self.reach_bins,
        )
