"""A process of --jobs: on one side of its pipe what the run knows of it, on the other what it does.

It is sent (number, task, marks), and None at the end. It sends ("ready", fields that all records share, files it may
have under way) or ("fatal", why), then ("progress", number, seconds of audio) and ("outcome", number, outcome).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing import connection
from queue import Empty, SimpleQueue
from typing import Any

from exdiff.cli.common import one_line
from exdiff.cli.ending import ENDING
from exdiff.cli.enhancing.options import Options
from exdiff.cli.enhancing.plan import EnhanceTask
from exdiff.cli.enhancing.readers import LOOK_SECONDS, Readers, reader_count
from exdiff.cli.enhancing.report import FAILED, Outcome
from exdiff.cli.enhancing.run import MakeRunner, Marks, Runner
from exdiff.core.errors import ExDiffError

_TELL_SECONDS = 0.25  # between two reports of progress


class Worker:
    """A process and what it is doing.

    Args:
        context: of multiprocessing.
        make: makes its runner, from the options and a number of threads.
        options: of the run.
        threads: of the process.
        several: it may have several files under way at once, if that fills its device.

    Attributes:
        room: files it may have under way; None while it loads.
        tasks: that are under way, by number.
        seconds: of audio done of each of them.
    """

    def __init__(self, context: Any, make: MakeRunner, options: Options, threads: int, several: bool) -> None:
        self.connection, other = context.Pipe()
        self.process = context.Process(target=serve, args=(other, make, options, threads, several), daemon=True)
        self.process.start()
        other.close()
        self.room: int | None = None
        self.tasks: dict[int, EnhanceTask] = {}
        self.seconds: dict[int, float] = {}

    def give(self, number: int, task: EnhanceTask, marks: Marks) -> None:
        """Send a file."""
        self.tasks[number], self.seconds[number] = task, 0.0
        self._tell((number, task, marks))

    def end(self) -> None:
        """Send that there is nothing more to do."""
        self._tell(None)
        self.connection.close()

    def _tell(self, work: tuple[int, EnhanceTask, Marks] | None) -> None:
        """That the process is gone, `recv` says."""
        with suppress(OSError):
            self.connection.send(work)

    def outcomes(self) -> Iterator[Outcome]:
        """Of files that it has finished and nobody has heard of yet."""
        with suppress(EOFError, OSError):
            while self.connection.poll():
                kind, *content = self.connection.recv()
                if kind == "outcome" and content[1].status != FAILED:  # which may be because of the end
                    yield content[1]


def serve(pipe: connection.Connection, make: MakeRunner, options: Options, threads: int, several: bool) -> None:
    """Enhance what comes through `pipe` until None comes, or nothing more can come."""
    ENDING.install(everywhere=True)
    try:
        try:
            runner = make(options, threads)
        except (ExDiffError, OSError) as error:
            pipe.send(("fatal", one_line(error)))
            return
        if several and runner.together:
            _serve_several(pipe, runner, options)
        else:
            _serve_one_by_one(pipe, runner)
    except (KeyboardInterrupt, EOFError, BrokenPipeError, ConnectionResetError):
        return  # the run is over; whoever began it says so


def _serve_one_by_one(pipe: connection.Connection, runner: Runner) -> None:
    pipe.send(("ready", runner.common, 1))
    while (work := pipe.recv()) is not None:
        number, task, marks = work
        pipe.send(("outcome", number, runner.run(task, marks, _teller(pipe, number))))
        ENDING.release()


def _teller(pipe: connection.Connection, number: int) -> Callable[[float], None]:
    """Send progress, not too often."""
    waiting, last = 0.0, 0.0

    def tell(seconds: float) -> None:
        nonlocal waiting, last
        waiting += seconds
        if time.monotonic() - last > _TELL_SECONDS:
            pipe.send(("progress", number, waiting))
            waiting, last = 0.0, time.monotonic()

    return tell


def _serve_several(pipe: connection.Connection, runner: Runner, options: Options) -> None:
    """Readers and the thread that hands out work never wait for whoever is at the other end of the pipe."""
    ENDING.hold()
    messages: SimpleQueue[tuple[int, Any]] = SimpleQueue()
    readers = Readers(runner, options, lambda number, content: messages.put((number, content)))
    try:
        pipe.send(("ready", runner.common, reader_count()))
        threading.Thread(target=_hand_out, args=(pipe, readers, messages), daemon=True).start()
        while True:
            ENDING.check()
            with suppress(Empty):
                _send(pipe, *messages.get(timeout=LOOK_SECONDS))
    except EOFError:
        pass  # all is done
    finally:
        readers.close()
        with suppress(Empty):
            while True:
                number, content = messages.get_nowait()
                if isinstance(content, Outcome):
                    _send(pipe, number, content)


def _hand_out(pipe: connection.Connection, readers: Readers, messages: SimpleQueue[tuple[int, Any]]) -> None:
    end: Exception = EOFError()
    try:
        while (work := pipe.recv()) is not None:
            readers.give(*work)
    except OSError:
        pass  # so is the pipe's
    except Exception as error:  # no further thread can be started, say
        end = error
    messages.put((-1, end))


def _send(pipe: connection.Connection, number: int, content: Any) -> None:
    if isinstance(content, BaseException):
        raise content
    pipe.send(("outcome" if isinstance(content, Outcome) else "progress", number, content))
