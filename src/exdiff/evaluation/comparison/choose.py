"""The files to show: those named, or those in which the systems differ most."""

from __future__ import annotations

from collections.abc import Sequence

from exdiff.core.config import nearest
from exdiff.core.errors import ConfigError
from exdiff.evaluation.metrics import LOWER_IS_BETTER
from exdiff.evaluation.statistics import ScoreRow


def spread(rows: Sequence[ScoreRow], systems: Sequence[str], score: str) -> dict[str, tuple[float, str]]:
    """For each file that has the score of all `systems`: the range of the scores, and the best system.

    Example:
        >>> rows = [{"file": "a", "system": "A", "pesq": 2.0}, {"file": "a", "system": "B", "pesq": 2.5}]
        >>> spread(rows, ["A", "B"], "pesq")
        {'a': (0.5, 'B')}
    """
    table: dict[str, dict[str, float]] = {}
    for row in rows:
        if row["system"] in systems and row.get(score) is not None:
            table.setdefault(row["file"], {})[row["system"]] = row[score]
    result = {}
    for file, values in table.items():
        if len(values) == len(systems):
            best = (min if score in LOWER_IS_BETTER else max)(values, key=lambda name: values[name])
            result[file] = (max(values.values()) - min(values.values()), best)
    return result


def choose(rows: Sequence[ScoreRow], systems: Sequence[str], score: str, count: int) -> list[str]:
    """Up to `count` files: in turn the largest lead of each system, so that every system has its failures shown.

    Example:
        >>> rows = [{"file": f, "system": s, "pesq": v} for f, a, b in [("1", 1, 4), ("2", 1, 3), ("3", 2, 1)]
        ...         for s, v in (("A", a), ("B", b))]
        >>> choose(rows, ["A", "B"], "pesq", 2)
        ['1', '3']
    """
    table = spread(rows, systems, score)
    order = sorted(table, key=lambda file: (-table[file][0], file))
    queues = {name: [file for file in order if table[file][1] == name] for name in systems}
    first = table[order[0]][1] if order else ""
    names = [first, *(name for name in systems if name != first)]
    chosen: list[str] = []
    while len(chosen) < min(count, len(order)):
        for name in names:
            if queues.get(name) and len(chosen) < count:
                chosen.append(queues[name].pop(0))
    return chosen


def check_names(wanted: Sequence[str], known: Sequence[str]) -> None:
    """Raise unless every wanted file is in the data.

    Raises:
        ConfigError: an unknown file, with the nearest name.
    """
    for name in wanted:
        if name not in known:
            raise ConfigError(f"the data has no file {name!r}{nearest(name, known)}")
