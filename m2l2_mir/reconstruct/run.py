"""File after file through a model and back."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from m2l2_mir.audio import read_info
from m2l2_mir.audiofile import printable
from m2l2_mir.errors import M2L2Error
from m2l2_mir.model.autoencoder import Music2Latent2
from m2l2_mir.progress import CountProgress
from m2l2_mir.quality.visqol import has_visqol
from m2l2_mir.reconstruct.hearing import hear
from m2l2_mir.reconstruct.outcome import Outcome, Pieces, distances, row_of
from m2l2_mir.reconstruct.plan import Job, Plan
from m2l2_mir.reconstruct.rebuilding import rebuild
from m2l2_mir.reconstruct.settings import Decoding, check

__all__ = ["run"]


def run(
    model: Music2Latent2,
    planned: Plan,
    decodings: Sequence[Decoding],
    *,
    excerpt: tuple[float, float] | None = None,
    sample_rate: int | None = None,
    raw_level: bool = False,
    quiet: bool = False,
    say: Callable[[Job, dict[str, Any]], object] | None = None,
) -> Outcome:
    """Reconstruct file after file; what cannot be used is listed and the rest goes on.

    Parameters
    ----------
    model
        Any model of the family.
    planned
        See :func:`m2l2_mir.reconstruct.plan.plan`.
    decodings
        As many as places of each job.
    excerpt, sample_rate, raw_level
        See :func:`m2l2_mir.reconstruct.hearing.hear` and :func:`m2l2_mir.reconstruct.rebuilding.rebuild`.
    quiet
        Show no progress.
    say
        Told each row.

    Raises
    ------
    InputError
        A setting of the decoder is out of range.
    """
    decodings = [check(model, decoding) for decoding in decodings]
    found = Outcome(
        failures=list(planned.failures),
        expected=len(planned.jobs) + len(planned.failures),
        passed_over=planned.passed_over,
    )
    logmel: dict[str, tuple[list[Pieces], list[Pieces]]] = {decoding.method: ([], []) for decoding in decodings}
    total = sum(_seconds(job, excerpt) for job in planned.jobs) * (1 + len(decodings))
    done = 0.0
    with CountProgress("reconstructing, seconds of music", quiet=quiet) as progress:

        def tell(seconds: float) -> None:
            nonlocal done
            done += seconds
            progress(round(done), round(max(total, done)))

        for job in planned.jobs:
            try:
                heard = hear(model, job.path, excerpt=excerpt, tell=tell)
                for target, decoding in zip(job.out, decodings, strict=True):
                    target.parent.mkdir(parents=True, exist_ok=True)
                    built = rebuild(
                        model,
                        heard,
                        target,
                        decoding=decoding,
                        sample_rate=sample_rate,
                        raw_level=raw_level,
                        with_visqol=has_visqol(),
                        tell=tell,
                    )
                    row = {
                        "track": job.name,
                        "out": str(target),
                        **row_of(heard, built, decoding, raw_level=raw_level),
                    }
                    found.rows.append(row)
                    for side, pieces in zip(logmel[decoding.method], built.logmel, strict=True):
                        side.append(pieces)
                    if say is not None:
                        say(job, row)
            except (M2L2Error, OSError) as error:
                reason = " ".join(str(error).split())
                found.failures.append((job.name, reason.removeprefix(f"{printable(job.path)}: ")))
    for method, (ours, theirs) in logmel.items():
        if apart := distances(ours, theirs):
            found.distances[method] = apart
    return found


def _seconds(job: Job, excerpt: tuple[float, float] | None) -> float:
    """Length that is expected of a file; 0 where its header does not tell."""
    try:
        duration = read_info(job.path).duration
    except (M2L2Error, OSError):
        return 0.0
    if math.isnan(duration):
        return 0.0
    return duration if excerpt is None else max(min(duration - excerpt[0], excerpt[1]), 0.0)
