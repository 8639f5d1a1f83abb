"""The exception tree: an error that a user can cause ends in one clear line.

Every message says what was got, what is allowed and what to do. The command line prints it and exits with code 2
(EXDIFF_DEBUG=1 adds the traceback). Anything else is a bug and keeps its traceback.
"""


class ExDiffError(Exception):
    """Base of every error that exdiff raises on purpose."""


class ConfigError(ExDiffError):
    """A recipe, an option or an override is wrong."""


class AudioError(ExDiffError):
    """An audio file or signal cannot be read, processed or written."""


class CheckpointError(ExDiffError):
    """A checkpoint is missing, damaged or does not fit."""


class DivergenceError(ExDiffError):
    """What a sampler made of a signal is not finite."""


class TrainingError(ExDiffError):
    """A training run cannot go on: another of its processes is gone."""


class DataError(ExDiffError):
    """A data set is missing, empty or inconsistent."""
