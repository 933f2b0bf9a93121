"""Small PNG files: 256 colours are enough for pages, and a quarter of the bytes."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

COLOURS = 256


def palette_png(pixels: NDArray[np.uint8]) -> bytes:
    """An image as height × width × 3 bytes of red, green, blue, in the 256 colours that fit it best."""
    height, width, _ = pixels.shape
    packed = pixels.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    found, where, counts = np.unique(packed, return_inverse=True, return_counts=True)
    colours = np.stack([found >> 16, (found >> 8) & 0xFF, found & 0xFF], axis=1).astype(np.int32)
    chosen = colours[_spread(colours, counts)]
    # The nearest of the chosen colours for each that occurs, a piece at a time: the whole table would be large.
    nearest = np.concatenate(
        [((piece[:, None] - chosen[None]) ** 2).sum(axis=2).argmin(axis=1) for piece in _pieces(colours)]
    )
    rows = np.zeros((height, width + 1), np.uint8)  # each row begins with its filter: none
    rows[:, 1:] = nearest[where.reshape(height, width)]
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    parts = (
        (b"IHDR", header),
        (b"PLTE", chosen.astype(np.uint8).tobytes()),
        (b"IDAT", zlib.compress(rows.tobytes(), 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )


def _spread(colours: NDArray[np.int32], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Which colours to keep: the most frequent of each small cube of the colour space, the fullest cubes first."""
    if len(colours) <= COLOURS:
        return np.arange(len(colours))
    cubes = (colours >> 4) @ np.array([256, 16, 1])
    best: dict[int, tuple[int, int]] = {}
    weight: dict[int, int] = {}
    for index, (cube, count) in enumerate(zip(cubes.tolist(), counts.tolist(), strict=True)):
        weight[cube] = weight.get(cube, 0) + count
        best[cube] = max(best.get(cube, (0, 0)), (count, index))
    fullest = sorted(weight, key=lambda cube: -weight[cube])[:COLOURS]
    return np.array([best[cube][1] for cube in fullest])


def _pieces(colours: NDArray[np.int32], size: int = 4096) -> list[NDArray[np.int32]]:
    return [colours[start : start + size] for start in range(0, len(colours), size)]
