"""ONNX files: compared with PyTorch, and put in place only if they agree."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from exdiff.checkpoints.export.graphs import Evaluation, Extraction, Graph, Waveform, Whole
from exdiff.checkpoints.export.trace import traced
from exdiff.core.errors import CheckpointError, ConfigError
from exdiff.core.recipe import Recipe
from exdiff.model.exdiff import ExDiff

WORST_DB = -60.0
_SECONDS = (0.51, 1.3, 2.7)  # none is the traced one


@dataclass(frozen=True)
class Exported:
    """A file that was written.

    Attributes:
        path: of the file.
        inputs, outputs: names of its tensors.
        deviation_db: the largest deviation from PyTorch of any output, relative to it, for signals of three lengths.
    """

    path: Path
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    deviation_db: float


def paths(out: Path, parts: bool) -> list[Path]:
    """The files that `export` writes.

    Raises:
        ConfigError: another suffix than .onnx.

    Example:
        >>> [str(path) for path in paths(Path("speech.onnx"), parts=True)]
        ['speech.extractor.onnx', 'speech.score.onnx', 'speech.waveform.onnx']
    """
    if out.suffix != ".onnx":
        raise ConfigError(f"the name of the file must end in .onnx, got {str(out)!r}")
    return [out.with_suffix(f".{part.name}.onnx") for part in (Extraction, Evaluation, Waveform)] if parts else [out]


def export(
    model: ExDiff,
    recipe: Recipe,
    out: Path,
    *,
    steps: int,
    parts: bool = False,
    details: Mapping[str, Any] | None = None,
) -> list[Exported]:
    """Write a model as one ONNX file, or as three for a sampler of one's own; existing files are replaced.

    Args:
        model: on the CPU, in float32 and evaluation mode, as `load_model` returns it.
        recipe: of the model.
        out: the file, or for the parts the name from which theirs are made, see `paths`.
        steps: of the recipe's sampler, in the whole model; 0 gives the extractor's estimate.
        parts: extractor, score network and inverse transform instead.
        details: further metadata.

    Returns:
        One entry for each file.

    Raises:
        CheckpointError: the model, or a part of it, cannot be exported; or the disk is full.
        ConfigError: parts of a model without a score network; or a package is missing.
    """
    files = paths(out, parts)
    if parts and model.backbone is None:
        raise ConfigError("this model is an extractor alone, which is one file: leave --parts out")
    graphs: Sequence[Graph] = [Whole(model, recipe, steps)]
    if parts:
        graphs = [kind(model, recipe) for kind in (Extraction, Evaluation, Waveform)]
    contents = [traced(graph, details or {}) for graph in graphs]
    figures = [_checked(graph, content) for graph, content in zip(graphs, contents, strict=True)]
    for path, content in zip(files, contents, strict=True):
        _write(path, content)
    return [Exported(p, g.inputs, g.outputs, figure) for p, g, figure in zip(files, graphs, figures, strict=True)]


def deviation_db(graph: Graph, content: bytes) -> float:
    """The largest deviation of an ONNX file from its graph; see `Exported`.

    Raises:
        CheckpointError: ONNX Runtime cannot run it.
        ConfigError: the package onnxruntime is missing.
    """
    try:
        import onnxruntime
    except ImportError:
        raise ConfigError("checking an ONNX file needs onnxruntime: pip install 'exdiff[export]'") from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # everything it logs comes as an exception too
    differences = []
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        for seconds in _SECONDS:
            given = graph.example(graph.signal(seconds))
            with torch.no_grad():
                wanted = [output.numpy() for output in graph(*given)]
            feeds = {name: tensor.numpy() for name, tensor in zip(graph.inputs, given, strict=True)}
            found = session.run(list(graph.outputs), feeds)
            differences += [_difference_db(a, b) for a, b in zip(found, wanted, strict=True)]
    except _errors(onnxruntime) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"this model cannot be exported: its {graph.name} does not run ({reason})") from error
    return max(differences)


def _checked(graph: Graph, content: bytes) -> float:
    worst = deviation_db(graph, content)
    if not worst <= WORST_DB:
        raise CheckpointError(
            f"this model cannot be exported: the {graph.name} would deviate by {worst:.1f} dB from PyTorch's, and at "
            f"most {WORST_DB:.0f} dB are allowed; something in it does not follow its input, or its length"
        )
    return worst


def _difference_db(found: Any, wanted: np.ndarray) -> float:
    if found.shape != wanted.shape:
        return math.inf
    error, size = (float(np.linalg.norm(x.astype(np.float64))) for x in (found - wanted, wanted))
    return 20 * math.log10(max(error, 1e-10 * size, 1e-30) / max(size, 1e-30))


def _errors(onnxruntime: Any) -> tuple[type[Exception], ...]:
    """Its exceptions, which have no base of their own."""
    state = onnxruntime.capi.onnxruntime_pybind11_state
    return state.Fail, state.InvalidArgument, state.InvalidGraph, state.NotImplemented, state.RuntimeException


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be written: {error.strerror}") from None
    finally:
        temporary.unlink(missing_ok=True)
