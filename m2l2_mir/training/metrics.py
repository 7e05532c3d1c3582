"""What was watched during a run, one row a logged step: ``metrics.csv``, and TensorBoard where it is installed.

Both have the same names and steps. A resumed run goes on in the same files; rows after the step it resumes at, which
it is about to write again, are dropped from the table and purged in TensorBoard.
"""

from __future__ import annotations

import csv
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from m2l2_mir.durable import write_durably

__all__ = ["METRICS", "TENSORBOARD", "Metrics", "has_tensorboard"]

METRICS, TENSORBOARD = "metrics.csv", "tensorboard"


def has_tensorboard() -> bool:
    """Whether the package of the ``[train]`` extra is there."""
    return find_spec("tensorboard") is not None


class Metrics:
    """Writes the rows of a run.

    Parameters
    ----------
    run
        Its folder.
    step
        Steps done so far.
    """

    def __init__(self, run: Path, step: int) -> None:
        self._path = run / METRICS
        self._rows = [row for row in self._read() if int(row["step"]) <= step]
        self._write()
        self._events = None
        if has_tensorboard():
            from torch.utils.tensorboard import SummaryWriter  # slow to import

            self._events = SummaryWriter(run / TENSORBOARD, purge_step=step + 1)

    def add(self, row: dict[str, float]) -> None:
        """Append a row, one of whose columns is ``step``; columns that appear for the first time are added."""
        self._rows.append({name: f"{value:.6g}" for name, value in row.items()})
        self._write()
        if self._events is not None:
            for name, value in row.items():
                if name != "step":
                    self._events.add_scalar(name, value, int(row["step"]))
            self._events.flush()

    def close(self) -> None:
        """End the file of events."""
        if self._events is not None:
            self._events.close()

    def _read(self) -> list[dict[str, str]]:
        if not self._path.is_file():
            return []
        with open(self._path, encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def _write(self) -> None:
        columns = list(dict.fromkeys(name for row in self._rows for name in row))

        def write(file: Any) -> None:
            lines = [columns, *([row.get(name, "") for name in columns] for row in self._rows)]
            file.write("".join(",".join(line) + "\n" for line in lines).encode())

        write_durably(self._path, write)
