"""The command line's fixtures: a tiny model on disk, and a way to run a command."""

from ...cli.conftest import model, noise, run

__all__ = ["model", "noise", "run"]
