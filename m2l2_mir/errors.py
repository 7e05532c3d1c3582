"""Errors of the package.

Every error a caller can cause derives from :class:`M2L2Error` and, where Python has a fitting
built-in, from that too. A message is one line: what is wrong (with the offending value), why, and
what to do about it. The command line prints it without a traceback.
"""

from __future__ import annotations


class M2L2Error(Exception):
    """Root of all errors raised on purpose by ``m2l2_mir``."""


class InputError(M2L2Error, ValueError):
    """An argument is of the wrong kind, shape or range."""


class ConfigError(M2L2Error, ValueError):
    """A configuration or recipe has an unknown key or an impossible value."""


class AudioError(M2L2Error, OSError):
    """An audio file cannot be found, read or used."""


class CheckpointError(M2L2Error, OSError):
    """Model weights cannot be found, read, or do not fit the model."""


class StoreError(M2L2Error, OSError):
    """An embedding store or a similarity index is damaged, or holds embeddings made with other settings."""


class CorpusError(M2L2Error, OSError):
    """Training audio is damaged, cannot be built, or holds nothing that can be used."""


class MissingExtraError(M2L2Error, ImportError):
    """A package of one of the extras is not installed; the message holds the command that installs it."""


class AudioWarning(UserWarning):
    """An audio file was used although something about it is not as it should be."""


class UntrainedWarning(UserWarning):
    """Embeddings are made with random weights: good for trying the pipeline, not for conclusions about music."""


class SplitWarning(UserWarning):
    """Folds are used although they may flatter a result, or cannot show all of it."""
