"""Where the files of `exdiff batch` are enhanced: in processes of this machine, or by actors of Ray."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial

from exdiff.cli.batching.attempts import Attempt
from exdiff.cli.batching.plan import Sizes
from exdiff.cli.batching.storage import Storage, Store
from exdiff.cli.enhancing.jobs import run_in_processes
from exdiff.cli.enhancing.options import Options
from exdiff.cli.enhancing.readers import run_in_threads
from exdiff.cli.enhancing.run import run_serially, thread_count
from exdiff.core.errors import ConfigError
from exdiff.core.machine import choose_device
from exdiff.core.threads import core_count


@dataclass(frozen=True)
class Engine:
    """Where the work is done.

    Attributes:
        on_ray: by actors of Ray, else by processes of this machine.
        workers: their number; None for one per core, or per GPU.
        address: of a Ray cluster; None for one of our own.
    """

    on_ray: bool = False
    workers: int | None = None
    address: str | None = None

    def check(self, *storages: Storage) -> None:
        """Raise ConfigError if the options or the storages do not go with the engine."""
        if self.address is not None and not self.on_ray:
            raise ConfigError("--address is that of a Ray cluster; use --engine ray, or leave it out")
        if self.on_ray and any(map(_in_memory, storages)):
            raise ConfigError("memory:// is the memory of this process alone; use --engine local")

    @contextmanager
    def begun(self, options: Options, *storages: Storage) -> Iterator[Callable[[Attempt], None]]:
        """Gives the function that makes an attempt."""
        if not self.on_ray:
            yield partial(_attempt_here, self.workers, any(map(_in_memory, storages)))
            return
        from exdiff.cli.batching.on_ray import Actors, cluster

        def attempt(content: Attempt) -> None:
            with closing(Actors(content, self.workers)) as actors:
                actors.run()

        with cluster(self.address, self.workers, options.threads):
            yield attempt


def _attempt_here(workers: int | None, in_memory: bool, attempt: Attempt) -> None:
    """In processes, so that a file that ends its process does not end the run; on a GPU, several files at once."""
    options, work, ledger = attempt.options, attempt.work, attempt.ledger
    on_cpu = choose_device(options.loading.get("device", "auto")).type == "cpu"
    jobs = workers or (core_count() if on_cpu else 1)
    if not in_memory and (on_cpu or jobs > 1):
        run_in_processes(work, replace(options, jobs=jobs), ledger, attempt.make, Sizes(work), "--workers")
        return
    runner = attempt.make(options, thread_count(options.threads))
    ledger.common = runner.common
    (run_in_threads if runner.together else run_serially)(work, runner, options, ledger, Sizes(work))


def _in_memory(storage: Storage) -> bool:
    return isinstance(storage, Store) and storage.url.startswith("memory:")
