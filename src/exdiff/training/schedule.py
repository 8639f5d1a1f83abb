"""When to validate and save, and the learning rate."""

from __future__ import annotations

from exdiff.training.options import Options


def due(step: int, steps: int, seconds: float, minutes: float) -> bool:
    """Whether it is time for something done every `steps` steps (0: never) and every `minutes`."""
    return (steps > 0 and step % steps == 0) or seconds > 60 * minutes


def learning_rate(options: Options, step: int, minutes: float, max_minutes: float | None) -> float:
    """Warm-up, constant, then linear decay to zero."""
    warm = min(1.0, (step + 1) / max(1, options.warmup))
    if options.decay_minutes and max_minutes is not None:
        left = (max_minutes - minutes) / options.decay_minutes
    else:
        left = (options.steps - step) / max(1.0, options.decay_share * options.steps)
    return options.learning_rate * warm * min(1.0, max(left, 0.01))
