"""3x3 convolutions with fewer multiplications (Winograd; Lavin and Gray 2016), from matrix products alone.

A tile of m x m outputs depends on (m + 2) x (m + 2) inputs. In a transformed space each of these points is a separate
matrix product over the channels: 36 products for 16 outputs (m = 4) where the definition needs 144, or 16 for 4 (m = 2)
where it needs 36. Maps are processed in strips of a few rows of tiles, which stay in the processor's cache. Larger
tiles save more and round more: in float32, m = 4 is exact to 2e-6; in bfloat16 it is unusable, and m = 2 is nearly as
exact as the definition.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from exdiff.core.machine import computed_dtype
from exdiff.core.measure import clearly_faster

_LEAST_INPUTS, _LEAST_OUTPUTS, _LEAST_BINS = 256, 64, 64  # below these the transforms cost about as much as they save
_TILES = {torch.float32: 4, torch.bfloat16: 2}
# For each tile size, along one axis: inputs and weights into the transformed space, and outputs out of it.
_INPUT = {
    2: [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]],
    4: [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
}
_WEIGHT = {
    2: [[1, 0, 0], [1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [0, 0, 1]],
    4: [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ],
}
_OUTPUT = {
    2: [[1, 1, 1, 0], [0, 1, -1, -1]],
    4: [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
}


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, tile: int) -> Tensor:
    """`conv2d(x, weight, bias, padding=1)` of x [B, C, F, N] and a weight [D, C, 3, 3]: [B, D, F, N], channels last.

    Args:
        x: feature map, of the weight's type.
        weight: the convolution's.
        bias: the convolution's, or None.
        tile: outputs of a tile along an axis, 2 or 4.

    Example:
        >>> x, weight = torch.randn(1, 8, 9, 7), torch.randn(4, 8, 3, 3)
        >>> bool(torch.allclose(convolve(x, weight, None, 4), torch.conv2d(x, weight, padding=1), atol=1e-4))
        True
    """
    inward, kernel, outward = (_both_axes(table[tile], x) for table in (_INPUT, _WEIGHT, _OUTPUT))
    points = (kernel @ weight.permute(2, 3, 1, 0).reshape(9, -1)).view(len(kernel), weight.shape[1], -1)
    height, width = x.shape[2:]
    down, across = -(-height // tile), -(-width // tile)
    margins = (0, 0, 1, across * tile + 1 - width, 1, down * tile + 1 - height)
    padded = functional.pad(x.permute(0, 2, 3, 1), margins)
    out = x.new_empty(len(x), down * tile, across * tile, len(weight))
    rows = max(1, (x.shape[1] // 2 if tile == 4 else 512) // across)
    for item, result in zip(padded, out, strict=True):
        for top in range(0, down, rows):
            strip = item[top * tile : (top + rows) * tile + 2]
            patches = _tiles(strip, tile + 2, tile).reshape(len(inward), -1)
            products = torch.bmm((inward @ patches).view(len(inward), -1, x.shape[1]), points)
            target = _tiles(result[top * tile : (top + rows) * tile], tile, tile)
            target.copy_((outward @ products.view(len(inward), -1)).view(target.shape))
    out = out if bias is None else out.add_(bias)
    return out[:, :height, :width].permute(0, 3, 1, 2)


def tile_for(layer: nn.Conv2d, x: Tensor) -> int | None:
    """The tile with which this layer is faster here than PyTorch's convolution, or None if there is none."""
    dtype = computed_dtype(x)
    if torch.is_grad_enabled() or x.device.type != "cpu" or dtype not in _TILES:
        return None
    simple = layer.kernel_size == (3, 3) and layer.padding == (1, 1) and layer.stride == layer.dilation == (1, 1)
    large = (
        layer.in_channels >= _LEAST_INPUTS and layer.out_channels >= _LEAST_OUTPUTS and min(x.shape[2:]) >= _LEAST_BINS
    )
    return _TILES[dtype] if simple and large and layer.groups == 1 and _is_faster(dtype) else None


def _tiles(strip: Tensor, size: int, step: int) -> Tensor:
    """A view [size, size, R, M, C] of the R x M overlapping squares in a contiguous strip [H, W, C]."""
    height, width, channels = strip.shape
    shape = (size, size, (height - size) // step + 1, (width - size) // step + 1, channels)
    row = width * channels
    return strip.as_strided(shape, (row, channels, step * row, step * channels, 1))


def _both_axes(table: Sequence[Sequence[float]], like: Tensor) -> Tensor:
    line = torch.tensor(table, dtype=torch.float32)
    return torch.kron(line, line).to(like)


@functools.cache
def _is_faster(dtype: torch.dtype) -> bool:
    x = torch.ones(1, 256, 64, 64, dtype=dtype).contiguous(memory_format=torch.channels_last)
    weight = torch.ones(256, 256, 3, 3, dtype=dtype).contiguous(memory_format=torch.channels_last)
    return clearly_faster(
        f"winograd_{dtype}".replace("torch.", ""),
        lambda: convolve(x, weight, None, _TILES[dtype]),
        lambda: functional.conv2d(x, weight, padding=1),
    )
