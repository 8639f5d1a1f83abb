"""Any ONNX enhancement model as a frozen extractor: internal tensors named in the recipe become latents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from exdiff.core.config import build
from exdiff.core.errors import ConfigError
from exdiff.model.extractors.frontends import FRONTENDS, Frontend
from exdiff.model.extractors.maps import named_axes, to_map
from exdiff.model.extractors.onnx_graph import Graph, expose
from exdiff.model.extractors.resampled import ResampledExtractor


class OnnxExtractor(ResampledExtractor):
    """A trained model that stays as it is: it has no weights in the checkpoint, and no gradient passes through it.

    Args:
        file: the ONNX file; environment variables and ~ are expanded. Checkpoints contain its path, not the file.
        latents: names of tensors inside the graph, finest first, or a table of names and axes, see `named_axes`.
        input, output: tables of names and axes; one input for each tensor of the frontend. Letters: b an axis of size
            one, n time, and those of the frontend (r real and imaginary part, f frequency). Without an output, the
            mixture takes the estimate's place.
        frontend: what makes the model's inputs: `{type: wave}`, `{type: spectrum, n_fft: ..., hop_length: ...}` or
            `{type: deepfilter}`.
        states: of a recurrent streaming model: input -> output with its next value.
        step: length of the time axis that the model takes at once; None is all of it.
        delay: of its output and its latents, in samples at `rate`.
        sample_rate: Hz, of the model.
        rate: Hz, of the ONNX model; None is the model's.
        linear: see `ResampledExtractor`.

    Raises:
        ValueError: no such file, tensor or frontend, or a shape that does not fit the axes.
    """

    def __init__(
        self,
        file: str,
        latents: Mapping[str, str] | Sequence[str],
        input: Mapping[str, str],
        output: Mapping[str, str] | None = None,
        frontend: Mapping[str, Any] | None = None,
        states: Mapping[str, str] | None = None,
        step: int | None = None,
        delay: int = 0,
        sample_rate: int = 16000,
        rate: int | None = None,
        linear: bool = True,
    ) -> None:
        try:
            front: Frontend = build(FRONTENDS, frontend or {"type": "wave"})
        except ConfigError as error:
            raise ValueError(f"frontend: {error}") from error
        super().__init__(sample_rate, rate or sample_rate, front.hop, linear)
        self.frontend, self.step, self.delay = front, step, delay
        self.inputs = _checked("input", input, self.frontend.axes)
        self.output = _checked("output", output, self.frontend.axes[:1])[0] if output else None
        self.axes = named_axes(latents)
        self.graph = Graph(expose(file, [*self.axes, *(output or {})]), states or {})
        known = [i.name for i in self.graph.session.get_inputs()]
        for name, _ in self.inputs:
            if name not in known:
                raise ValueError(f"the ONNX model has no input {name!r}; it has {', '.join(known)}")
        self.latent_channels = self._probe()

    def extract(self, wave: Tensor) -> tuple[Tensor, list[Tensor]]:
        # One item at a time: many exported models accept only a batch of one.
        items = [self._item(row) for row in wave.detach().float().cpu()]
        estimate = torch.stack([e for e, _ in items]).to(wave.device)
        return estimate, [torch.cat(maps).to(wave.device) for maps in zip(*(m for _, m in items), strict=True)]

    def _item(self, wave: Tensor) -> tuple[Tensor, list[Tensor]]:
        late = functional.pad(wave, (0, self.delay))
        features = self.frontend.features(late)
        time = features[0].shape[-1]
        feeds = {}
        for (name, axes), have, feature in zip(self.inputs, self.frontend.axes, features, strict=True):
            padded = functional.pad(feature, (0, -time % (self.step or 1)))
            feeds[name] = (_arranged(padded, have, axes).numpy(), axes.index("n"))
        wanted = {key: letters.index("n") if letters else -1 for key, letters in self._wanted().items()}
        found = self.graph.run(feeds, self.step, wanted)
        tensors = {key: torch.from_numpy(np.asarray(array, np.float32)) for key, array in found.items()}
        maps = [to_map(key, tensors[key], letters) for key, letters in self.axes.items()]
        maps = [m[..., min(m.shape[-1] - 1, round(self.delay * m.shape[-1] / len(late))) :] for m in maps]
        if self.output is None:
            return wave, maps
        name, axes = self.output
        estimate = self.frontend.waveform(_restored(tensors[name], axes, self.frontend.axes[0])[..., :time], late)
        estimate = estimate[self.delay :]
        return functional.pad(estimate, (0, len(wave) - len(estimate))), maps

    def _wanted(self) -> dict[str, str]:
        return {**self.axes, **(dict([self.output]) if self.output else {})}

    def _probe(self) -> tuple[int, ...]:
        """Channels of the latents, measured on one second of a tone."""
        try:
            _, maps = self._item(torch.sin(0.1 * torch.arange(self.rate)))
        except (IndexError, RuntimeError) as error:
            raise ValueError(f"the axes do not fit the ONNX model: {' '.join(str(error).split())[:200]}") from error
        except Exception as error:
            if type(error).__module__.startswith("onnxruntime"):
                raise ValueError(f"the ONNX model does not run: {' '.join(str(error).split())[:200]}") from error
            raise
        return tuple(m.shape[1] for m in maps)


def _checked(what: str, table: Mapping[str, str], allowed: Sequence[str]) -> list[tuple[str, str]]:
    if not isinstance(table, Mapping) or len(table) != len(allowed):
        raise ValueError(f"{what} must be a table of {len(allowed)} names and their axes, got {table!r}")
    for (name, axes), letters in zip(table.items(), allowed, strict=True):
        if sorted(axes.replace("b", "")) != sorted(letters):
            raise ValueError(
                f"{what} {name}: axes must be an order of {', '.join(letters)} and any number of b, got {axes!r}"
            )
    return list(table.items())


def _arranged(x: Tensor, have: str, want: str) -> Tensor:
    """Permute the axes `have`, and put an axis of one at every b of `want`."""
    x = x.permute([have.index(letter) for letter in want if letter != "b"])
    for place, letter in enumerate(want):
        if letter == "b":
            x = x.unsqueeze(place)
    return x


def _restored(x: Tensor, have: str, want: str) -> Tensor:
    """Undo `_arranged`.

    Example:
        >>> x = torch.randn(2, 3, 4)
        >>> torch.equal(_restored(_arranged(x, "rfn", "bfnr"), "bfnr", "rfn"), x)
        True
    """
    if x.ndim != len(have):
        raise ValueError(f"the output has the shape {list(x.shape)}, which does not fit the axes {have!r}")
    for place in reversed([i for i, letter in enumerate(have) if letter == "b"]):
        x = x.squeeze(place)
    plain = have.replace("b", "")
    return x.permute([plain.index(letter) for letter in want])
