"""The page: one self-contained HTML file, made from a template and the results of `run`.

All text from outside (names of files, systems and data) is escaped here, and a content-security policy in the template
keeps the page from loading anything.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from string import Template
from typing import Any

from exdiff.evaluation.comparison.pictures import LEFT, RIGHT
from exdiff.evaluation.metrics import LOWER_IS_BETTER
from exdiff.evaluation.report import HEADINGS, decimal, excludes_zero
from exdiff.evaluation.systems import MIXTURE

READING = {
    "SI-SDR": "Clean speech relative to everything else, in dB, independent of the level. Per file in the tables; in "
    "the curves per half second, every quarter of a second, except in pauses.",
    "SI-SIR, SI-SAR": "The same relative to the remaining noise, and relative to what the system itself added.",
    "removed": "Mixture minus estimate: what the system took away. Speech in it is speech that is lost.",
    "difference": "The second system minus the first.",
    "uncertainty": "Variance of several samples of a diffusion model relative to their mean, in dB, for each second. "
    "It ranks seconds by how reliable they are; it is not the size of the error, which is usually larger.",
    "flagged": "Seconds in which the samples, or the estimates of diffusion model and extractor, differ by more than a "
    "thirtieth of the energy (-15 dB). Do not rely on the words in them.",
    "[low, high]": "95 % bootstrap interval over files. A star marks a difference whose interval excludes zero.",
    "players": "Lossy (MP3), scaled down together if one would clip. Scores are computed from the original signals.",
}


@dataclass(frozen=True)
class Tile:
    """A picture with its player: `title`, a `note` in small print, `png` and `mp3` bytes."""

    title: str
    note: str
    png: bytes
    mp3: bytes
    residual: bool = False


@dataclass(frozen=True)
class Case:
    """One file: its rows by system, tiles, curves (PNG), a sentence, and its flags by system."""

    file: str
    about: str
    sentence: str
    rows: Mapping[str, Mapping[str, Any]]
    tiles: Sequence[Tile]
    curves: bytes
    flags: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)


def render(
    result: Mapping[str, Any],
    systems: Mapping[str, str],
    cases: Sequence[Case],
    *,
    summary: Sequence[str],
    noise_table: Sequence[Mapping[str, Any]],
    differences: bytes | None,
    scale: bytes,
    choice: str,
    version: str,
) -> str:
    """The whole page.

    Args:
        result: of `evaluate_pairs`.
        systems: name -> kind, shown in small print.
        cases: the files to show.
        summary: sentences.
        noise_table: see `summary.by_noise`.
        differences: picture of all files, or None.
        scale: picture of the colour scale.
        choice: how the cases were chosen.
        version: of exdiff.
    """
    names = list(systems)
    template = Template((resources.files("exdiff.evaluation.comparison") / "page.html").read_text(encoding="utf-8"))
    overview = [_noise(noise_table, names)] if noise_table else []
    if differences is not None:
        overview.insert(0, f'<img class="wide" alt="differences of all files" src="{_uri(differences, "image/png")}">')
    legend = "; ".join(f"{name} ({kind})" for name, kind in systems.items())
    return template.substitute(
        title=_text(" against ".join(names) if len(names) < 4 else f"{len(names)} systems compared"),
        subtitle=_text(f"{result['files']} files of {result['data']}. Systems: {legend}."),
        summary=f'<ul class="summary">{"".join(f"<li>{_text(line)}</li>" for line in summary)}</ul>',
        scores=_scores(result),
        overview=f"<section><h2>Where they differ</h2>{''.join(overview)}</section>" if overview else "",
        choice=_text(choice),
        scale=_uri(scale, "image/png"),
        links="".join(f'<a href="#case-{i}">{_text(case.file)}</a>' for i, case in enumerate(cases)),
        cases="".join(_case(i, case) for i, case in enumerate(cases)),
        reading=f"<dl>{''.join(f'<dt>{_text(k)}</dt><dd>{_text(v)}</dd>' for k, v in READING.items())}</dl>",
        footer=_text(f"Made by exdiff {version}. Nothing on this page is loaded from elsewhere."),
        left=LEFT,
        right=RIGHT,
    )


def _scores(result: Mapping[str, Any]) -> str:
    systems = result["systems"]
    scores = [key for key in next(iter(systems.values())) if key not in ("rtf", "errors")]
    head = [HEADINGS.get(score, (score, 2))[0] for score in scores]
    best = {score: _best({name: table[score]["mean"] for name, table in systems.items()}, score) for score in scores}
    rows = []
    for name, table in systems.items():
        speed = "" if table["rtf"] is None else f"{table['rtf']:.3g}"
        rows.append([name, *(_cell(table[s], s, best=name in best[s]) for s in scores), f"<td>{speed}</td>"])
    parts = [_table(["mean of all files", *head, "RTF"], rows)]
    gains = [[name, *(_cell(table[s], s, "+") for s in scores)] for name, table in result["paired"].items()]
    return parts[0] + (f"<h3>Paired differences</h3>{_table(['difference', *head], gains)}" if gains else "")


def _noise(tables: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    head = ["SI-SDR of the mixture in the half second", "half seconds", *names[:2]]
    head += [f"{names[1]} − {names[0]}"] if len(names) > 1 else []
    rows = []
    for table in tables:
        means = [f"<td>{'' if m is None else format(m, '.2f')}</td>" for m in table["means"][:2]]
        lead = [_cell(table, "si_sdr", "+")] if "mean" in table else []
        rows.append([table["label"], f"<td>{table['segments']}</td>", *means, *lead])
    return f"<h3>By how noisy the mixture is at that moment</h3>{_table(head, rows)}"


def _case(index: int, case: Case) -> str:
    scores = [key for key in HEADINGS if any(row.get(key) is not None for row in case.rows.values())]
    best = {s: _best({n: r.get(s) for n, r in case.rows.items()}, s) for s in scores}
    rows = [
        [name, *(_cell({"mean": row.get(s), "ci95": None}, s, best=name in best[s]) for s in scores)]
        for name, row in case.rows.items()
    ]
    flags = "".join(
        f'<span class="flag">{_text(name)}: {flag["start"]} to {flag["end"]} s, {_text(flag["why"])}</span>'
        for name, each in case.flags.items()
        for flag in each
    )
    head = ["system", *(HEADINGS[score][0] for score in scores)]
    return (
        f'<section class="case" id="case-{index}"><h2>{_text(case.file)}</h2>'
        f'<p class="lead">{_text(case.about)} {_text(case.sentence)}</p>{_table(head, rows)}'
        + (f"<p>Flagged: {flags}</p>" if flags else "")
        + f'<h3>SI-SDR along time</h3><img class="wide" alt="curves" src="{_uri(case.curves, "image/png")}">'
        f'<div class="tiles">{"".join(map(_tile, case.tiles))}</div></section>'
    )


def _tile(tile: Tile) -> str:
    kind = ' class="residual"' if tile.residual else ""
    return (
        f"<figure{kind}><figcaption>{_text(tile.title)}<small>{_text(tile.note)}</small></figcaption>"
        f'<div class="picture"><img loading="lazy" alt="spectrogram" src="{_uri(tile.png, "image/png")}">'
        f'<div class="cursor"></div></div>'
        f'<audio controls preload="metadata" src="{_uri(tile.mp3, "audio/mpeg")}"></audio></figure>'
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table. Each row is a name, which is escaped here, and cells, which are HTML."""
    heading = "".join(f"<th>{_text(text)}</th>" for text in head)
    body = "".join(f"<tr><td>{_text(row[0])}</td>{''.join(row[1:])}</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{heading}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(score: Mapping[str, Any], name: str, sign: str = "", *, best: bool = False) -> str:
    if score["mean"] is None:
        return "<td>n/a</td>"
    form = f"{sign}.{HEADINGS.get(name, (name, 2))[1]}f"
    text = decimal(score["mean"], form)
    if score["ci95"] is not None:
        low, high = score["ci95"]
        star = "*" if sign and excludes_zero(score["ci95"], form) else ""
        text += f"{star} <small>[{decimal(low, form)}, {decimal(high, form)}]</small>"
    return f"<td{' class=best' if best else ''}>{text}</td>"


def _best(values: Mapping[str, float | None], score: str) -> set[str]:
    """The best systems, without the mixture, whose SI-SAR means nothing."""
    known = {name: value for name, value in values.items() if value is not None and name != MIXTURE}
    if len(known) < 2:
        return set()
    top = (min if score in LOWER_IS_BETTER else max)(known.values())
    return {name for name, value in known.items() if value == top}


def _text(text: str) -> str:
    return html.escape(text, quote=True)


def _uri(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
