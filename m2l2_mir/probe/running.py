"""One probe from its plan to a folder: run it unless it is there, keep fitted probes, and study what a score hides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from m2l2_mir.probe.experiment import run_probe, settings_of
from m2l2_mir.probe.final_fit import keep_fits
from m2l2_mir.probe.grouping import grouping
from m2l2_mir.probe.learning_curve import learning_curve
from m2l2_mir.probe.plan import Plan
from m2l2_mir.probe.results import finished, read_predictions, read_scores, refuse_other, write_result
from m2l2_mir.probe.rows import Row
from m2l2_mir.probe.studies import forget_studies, has_study, refuse_beside_studies, write_study
from m2l2_mir.progress import CountProgress

__all__ = ["run_into"]


def run_into(
    out: Path,
    plan: Plan,
    rows: Sequence[Row],
    *,
    command: str,
    overwrite: bool = False,
    curve: bool = False,
    jobs: int | None = None,
    quiet: bool = False,
) -> tuple[dict[str, Any], list[Path]]:
    """Run a probe into ``out / plan.name``, or find it finished there.

    Parameters
    ----------
    out
        Folder of results.
    plan, rows
        As of :func:`m2l2_mir.probe.experiment.run_probe`.
    command
        That makes it, kept beside the scores.
    overwrite
        Whether results of other settings may be replaced.
    curve
        Whether to fit on ever fewer training tracks as well, unless that is there.
    jobs
        Processes; None: the cores this process may use.
    quiet
        Without progress.

    Returns
    -------
    scores : dict
        As they are written.
    fitted : list of Path
        Folders of the fitted probes.

    Raises
    ------
    InputError
        Results of other settings are there, or as of ``run_probe``.
    """
    settings = settings_of(plan, rows)
    if finished(out, plan.name, settings) is None:
        if overwrite:
            forget_studies(out, plan.name)
        else:
            refuse_other(out, plan.name, settings)
            refuse_beside_studies(out, plan.name, settings)
        with CountProgress("fitting", quiet=quiet) as told:
            result = run_probe(plan, rows, jobs=jobs, progress=told)
        write_result(out, result, command=command)
    scores, predictions = read_scores(out)[plan.name], read_predictions(out, plan.name)
    fitted = keep_fits(plan, rows, scores, predictions, out / plan.name)
    if (study := grouping(plan, scores, predictions)) is not None:
        write_study(out, study, command=command)
    if curve and not has_study(out, plan.name, "learning-curve", settings):
        with CountProgress("learning curve", quiet=quiet) as told:
            write_study(out, learning_curve(plan, rows, jobs=jobs, progress=told), command=command)
    return scores, fitted
