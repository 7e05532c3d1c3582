"""What step number so-and-so of a run is made of: its windows, its noise, and the phase of training it lies in."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

from m2l2_mir.training.config import TrainingConfig
from m2l2_mir.training.objective import Noise, draw_noise
from m2l2_mir.training.schedules import consistency_step, explicit_weight

__all__ = ["Phase", "noise_of", "phase_of", "phases", "windows_of"]


@dataclass(frozen=True)
class Phase:
    """A stretch of steps in which the same losses are active.

    Parameters
    ----------
    name
        ``"explicit"``, ``"clean"``, ``"explicit + share"`` and so on: the explicit loss, and the target of the
        consistency loss.
    first
        Its first step.
    """

    name: str
    first: int


def phase_of(step: int, config: TrainingConfig) -> Phase:
    """The phase that a step lies in.

    >>> recipe = TrainingConfig.load("low-budget-decoder")
    >>> phase_of(100, recipe), phase_of(12_000, recipe)
    (Phase(name='clean', first=0), Phase(name='position', first=9540))
    """
    name = _active(step, config)
    # phases follow one another and none comes back
    return Phase(name, bisect_left(range(step + 1), True, key=lambda earlier: _active(earlier, config) == name))


def phases(config: TrainingConfig) -> list[Phase]:
    """All phases of a recipe, in order.

    >>> [phase.first for phase in phases(TrainingConfig.load("low-budget-decoder"))]
    [0, 1193, 9540]
    """
    found: list[Phase] = []
    step = 0
    while step < config.steps:
        found.append(phase_of(step, config))
        rest = range(step, config.steps)
        step += bisect_left(rest, True, key=lambda later: _active(later, config) != found[-1].name)
    return found


def windows_of(step: int, config: TrainingConfig, rank: int = 0, processes: int = 1) -> tuple[list[int], int]:
    """Numbers of the windows that one process hears in a step, and their length in samples.

    Single chunks, and so more pieces of music, while no loss looks from one chunk to the next.
    """
    model = config.model_config
    chunks = 1 if consistency_step(step, config)[0] == "off" else model.context_chunks
    count = config.batch_size * model.context_chunks // chunks // processes
    first = step * config.batch_size * model.context_chunks + rank * count
    return list(range(first, first + count)), chunks * model.chunk_samples + model.overlap


def noise_of(sample_ids: list[int], step: int, config: TrainingConfig) -> Noise:
    """Noise of these windows, of the kinds that the step's losses ask for."""
    return draw_noise(
        sample_ids,
        config.seed,
        config.model_config,
        spectrogram=consistency_step(step, config)[0] != "off",
        latents=config.summary_weight > 0 and config.summary_noise > 0,
    )


def _active(step: int, config: TrainingConfig) -> str:
    kind = consistency_step(step, config)[0]
    explicit = ["explicit"] if explicit_weight(step, config) > 0 else []
    return " + ".join([*explicit, *([kind] if kind != "off" else [])])
