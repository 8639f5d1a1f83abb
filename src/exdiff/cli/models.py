"""`exdiff models`: what is embedded in the package."""

from __future__ import annotations

from typing import Annotated

import typer

from exdiff.cli.common import reporting

app = typer.Typer(help="List the embedded models, or describe one.", rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def _default(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        list_()


@app.command("list")
def list_() -> None:
    """Name, rate, licence and description of each, one a line."""
    with reporting():
        from exdiff.checkpoint import embedded, load_recipe

        rows = [(name, load_recipe(name)) for name in embedded()]
        width = max((len(name) for name, _ in rows), default=0)
        for name, recipe in rows:
            typer.echo(f"{name:<{width}}  {recipe.sample_rate} Hz  {recipe.licence}  {recipe.description}".rstrip())


@app.command()
def info(
    name: Annotated[str, typer.Argument(help="An embedded model's name, or a checkpoint's path.")],
    trust_code: Annotated[bool, typer.Option("--trust-code", help="Run code that the checkpoint names.")] = False,
) -> None:
    """Licence, size, parts and default settings of one model."""
    with reporting():
        from exdiff.checkpoint import load_model
        from exdiff.cost import gmac_per_second, parameters

        model, recipe = load_model(name, trust_code=trust_code)
        cost = gmac_per_second(model)
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
            "sample rate": f"{recipe.sample_rate} Hz",
            "parameters": f"{parameters(model) / 1e6:.2f} million",
            "extraction": f"{cost['extraction']:.2f} GMAC per second of audio, once",
            "evaluation": f"{cost['evaluation']:.2f} GMAC per second of audio, each",
            **parts,
            "sampler": ", ".join(f"{key} {value}" for key, value in sampler.items()),
        }
        for key, value in lines.items():
            typer.echo(f"{key + ':':<13} {value}")
