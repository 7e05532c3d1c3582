"""Progress of long commands: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from m2l2_mir.dataset.folder import Listing
from m2l2_mir.embedding.rescan import Changes
from m2l2_mir.embedding.track import TrackResult
from m2l2_mir.model.autoencoder import Music2Latent2

__all__ = ["CountProgress", "EmbedProgress"]

PLAIN_SECONDS = 10.0  # between two plain lines


class EmbedProgress:
    """Observes an extraction, shows how far it is, and counts for the summary. A context manager."""

    def __init__(self, *, quiet: bool = False) -> None:
        console = Console(stderr=True)
        self._quiet = quiet
        self._plain = not quiet and not console.is_terminal
        self._bar = Progress(
            TextColumn("embedding"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
            console=console,
            disable=quiet or self._plain,
            transient=True,
        )
        self._task: TaskID | None = None
        self._started = self._said = time.monotonic()
        self._found = self._todo = self._passed_over = self._embedded = self._done = 0
        self._audio_seconds = 0.0
        self._sample_rate = 1  # of the model
        self._failures: list[tuple[str, str]] = []
        self._notes: list[tuple[str, str]] = []
        self._changes = Changes()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def started(self, listing: Listing, unchanged: int, model: Music2Latent2) -> None:
        """See :class:`~m2l2_mir.embedding.extract.Observer`."""
        self._found = len(listing.files) + len(listing.failures)
        self._passed_over = listing.passed_over
        self._sample_rate = model.config.sample_rate
        self._todo = self._found - unchanged
        self._started = self._said = time.monotonic()
        self._task = self._bar.add_task("embed", total=self._todo, speed="")
        if not model.trained and not self._quiet:
            self._bar.console.print(f"{model.weights_id}: untrained weights", style="yellow", highlight=False)

    def finished(self, result: TrackResult) -> None:
        """See :class:`~m2l2_mir.embedding.extract.Observer`."""
        if result.status == "ok":
            self._embedded += 1
            if result.reason:
                self._notes.append((result.track_id, result.reason))
            if result.chunk_samples is not None:  # not the duration: of an excerpt, that is the whole file's
                self._audio_seconds += float(result.chunk_samples.sum()) / self._sample_rate
        else:
            self._failures.append((result.track_id, result.reason))
        self._advance()

    def found_again(self, track_id: str) -> None:
        """See :class:`~m2l2_mir.embedding.extract.Observer`."""
        self._advance()

    def followed(self, changes: Changes) -> None:
        """See :class:`~m2l2_mir.embedding.extract.Observer`."""
        self._changes = changes

    def _advance(self) -> None:
        self._done += 1
        now = time.monotonic()
        speed = f"{self._audio_seconds / max(now - self._started, 1e-9):.0f} x real time"
        if self._task is not None:
            self._bar.update(self._task, advance=1, speed=speed)
        if self._plain and now - self._said >= PLAIN_SECONDS:
            self._said = now
            print(f"embedding {self._done}/{self._todo}, {speed}", file=sys.stderr, flush=True)

    def summary(self) -> dict[str, Any]:
        """Counts and speed of the run, and what became of the store's other tracks (see
        :class:`~m2l2_mir.embedding.rescan.Changes`); found = embedded + unchanged + failed.
        """
        seconds = time.monotonic() - self._started
        return {
            "found": self._found,
            "embedded": self._embedded,
            "unchanged": self._found - self._embedded - len(self._failures),
            "failed": len(self._failures),
            "passed_over": self._passed_over,
            "hours": self._audio_seconds / 3600,
            "seconds": seconds,
            "speed": self._audio_seconds / max(seconds, 1e-9),
            "failures": self._failures,
            "notes": self._notes,
            **asdict(self._changes),
        }


class CountProgress:
    """Shows ``done of total`` of a named piece of work once it takes long enough to matter. A context manager."""

    def __init__(self, title: str, *, quiet: bool = False) -> None:
        console = Console(stderr=True)
        self._title = title
        self._plain = not quiet and not console.is_terminal
        self._bar = Progress(
            TextColumn(title),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=quiet or self._plain,
            transient=True,
        )
        self._task: TaskID | None = None
        self._said = time.monotonic()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def __call__(self, done: int, total: int) -> None:
        """Told after each item."""
        if self._task is None:
            self._task = self._bar.add_task(self._title, total=total)
        self._bar.update(self._task, completed=done, total=total)
        now = time.monotonic()
        if self._plain and now - self._said >= PLAIN_SECONDS:
            self._said = now
            print(f"{self._title} {done}/{total}", file=sys.stderr, flush=True)
