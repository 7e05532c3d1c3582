"""An evaluation on the disk.

``OUT`` holds ``scores.json`` (all numbers), ``scores.csv`` (a line for each), ``table.md``, ``table.tex``,
``queries.parquet`` (a line for each row, relation, filter and query), ``tracks.parquet`` (a line for each track, with
its k-occurrence and place on the map) and ``report.html``. ``scores.json`` is written last and removed first: a folder
without it is unfinished.
"""

from __future__ import annotations

from pathlib import Path

from m2l2_mir.durable import write_durably, write_json
from m2l2_mir.errors import InputError
from m2l2_mir.index.evaluate import Evaluation
from m2l2_mir.index.evaluation_tables import latex, long_table, markdown
from m2l2_mir.index.evaluation_words import sentences
from m2l2_mir.probe.results import plain

__all__ = ["SCORES", "write_evaluation"]

SCORES = "scores.json"


def write_evaluation(out: Path, evaluation: Evaluation, *, report: str, command: str = "") -> None:
    """Write all files of an evaluation.

    Parameters
    ----------
    out
        Folder; made if need be. Files of an older evaluation are replaced.
    evaluation
        Of :func:`m2l2_mir.index.evaluate.evaluate_index`.
    report
        The page, of :func:`m2l2_mir.report.index_report.index_page`.
    command
        That made it.

    Raises
    ------
    InputError
        The folder cannot be written.
    """
    scores = plain(evaluation.scores)
    texts = {
        "scores.csv": long_table(scores).to_csv(index=False),
        "table.md": markdown(scores),
        "table.tex": latex(scores),
        "report.html": report,
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / SCORES).unlink(missing_ok=True)
        write_durably(out / "queries.parquet", lambda file: evaluation.queries.to_parquet(file, index=False))
        tracks = evaluation.tracks
        mixed = {str(name): tracks[name].astype("string") for name in tracks if tracks[name].dtype == object}
        write_durably(out / "tracks.parquet", lambda file: tracks.assign(**mixed).to_parquet(file, index=False))
        for name, text in texts.items():
            content = text.encode()
            write_durably(out / name, lambda file, content=content: file.write(content))  # type: ignore[misc]
        write_json(out / SCORES, scores | {"sentences": sentences(scores), "command": command})
    except OSError as error:
        raise InputError(f"cannot write the evaluation into {out}: {error.strerror or error}") from error
