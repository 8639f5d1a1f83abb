"""The names of NCSN++'s parts in published checkpoints, which keep them in one flat list, `all_modules`.

The list is in the order in which the published code creates its modules; this file walks ours in the same order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor, nn

from exdiff.model.backbones.ncsnpp import DecoderLevel, EncoderLevel, NCSNpp
from exdiff.model.backbones.ncsnpp_blocks import Attention, BigGANBlock

_PARTS: dict[type[nn.Module], dict[str, str]] = {
    BigGANBlock: {
        "norm1": "GroupNorm_0",
        "conv1": "Conv_0",
        "time": "Dense_0",
        "norm2": "GroupNorm_1",
        "conv2": "Conv_1",
        "shortcut": "Conv_2",
    },
    Attention: {"norm": "GroupNorm_0", "query": "NIN_0", "key": "NIN_1", "value": "NIN_2", "out": "NIN_3"},
}


def published_names(network: NCSNpp) -> dict[str, str]:
    """Our name of each tensor -> its published name.

    Example:
        >>> names = published_names(NCSNpp(nf=8, ch_mult=(1, 2), num_res_blocks=1))
        >>> names["time.first.weight"], names["encoder.levels.0.blocks.0.conv1.bias"], names["outlet.weight"]
        ('all_modules.1.weight', 'all_modules.4.Conv_0.bias', 'output_layer.weight')
    """
    names = {f"outlet.{kind}": f"output_layer.{kind}" for kind in ("weight", "bias")}
    for number, ours in enumerate(_in_published_order(network)):
        module = network.get_submodule(ours) if ours != "time.frequencies" else None
        for tail, published in _tensors(module, combine=ours.startswith("encoder.combines")):
            names[f"{ours}{tail}"] = f"all_modules.{number}.{published}"
    return names


def from_published(network: NCSNpp, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state for `network` from tensors under published names.

    Raises:
        KeyError: a tensor is missing.
    """
    state = {}
    for ours, published in published_names(network).items():
        tensor = weights[published]
        # The layer `NIN` has a weight [in, out], a 1x1 convolution [out, in, 1, 1].
        state[ours] = tensor.T[:, :, None, None] if published.endswith(".W") and tensor.ndim == 2 else tensor
    return state


def _in_published_order(network: NCSNpp) -> Iterator[str]:
    yield from ("time.frequencies", "time.first", "time.second", "encoder.inlet")
    encoder, decoder = network.encoder, network.decoder
    for i, level in enumerate(encoder.levels):
        assert isinstance(level, EncoderLevel)
        for j, attention in enumerate(level.attentions):
            yield f"encoder.levels.{i}.blocks.{j}"
            if isinstance(attention, Attention):
                yield f"encoder.levels.{i}.attentions.{j}"
        if i < len(encoder.downs):
            yield f"encoder.downs.{i}"
        if i < len(encoder.combines):
            yield f"encoder.combines.{i}"
    yield from ("middle.first", "middle.attention", "middle.last")
    every_level_paints = len(decoder.heads) == len(decoder.levels)
    for i, level in enumerate(decoder.levels):
        assert isinstance(level, DecoderLevel)
        yield from (f"decoder.levels.{i}.blocks.{j}" for j in range(len(level.blocks)))
        if isinstance(level.attention, Attention):
            yield f"decoder.levels.{i}.attention"
        if every_level_paints:
            yield from (f"decoder.heads.{i}.norm", f"decoder.heads.{i}.conv")
        if i < len(decoder.ups):
            yield f"decoder.ups.{i}"
    if not every_level_paints:
        yield from ("decoder.heads.0.norm", "decoder.heads.0.conv")


def _tensors(module: nn.Module | None, combine: bool) -> Iterator[tuple[str, str]]:
    """(suffix of our name, suffix of the published one) for each tensor of one entry of the list."""
    if module is None:
        yield "", "W"
        return
    for part, published in _PARTS.get(type(module), {}).items():
        if getattr(module, part) is not None:
            nin = published.startswith("NIN")
            yield f".{part}.weight", f"{published}.{'W' if nin else 'weight'}"
            yield f".{part}.bias", f"{published}.{'b' if nin else 'bias'}"
    if type(module) not in _PARTS:
        for kind in ("weight", "bias"):
            yield f".{kind}", f"Conv_0.{kind}" if combine else kind
