"""Exact statistics for an exported LeRobot data set.

lerobot 0.6.1 averages the quantiles of single episodes into stats.json, which puts a third
of the data outside [q01, q99], and takes its picture statistics from a sample. Both are
replaced here by those of all rows and all pixels.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla.data.convert.lerobot_folder import read_json, read_table
from vla.data.convert.lerobot_rows import read_matrix
from vla.data.stats import summarize
from vla.files import write_json
from vla.types import Uint8

FILE = "meta/stats.json"
QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}


class PixelCounts:
    """How often each of the 256 levels occurs, per colour channel."""

    def __init__(self) -> None:
        self._counts = np.zeros((3, 256), np.int64)
        self._frames = 0

    def add(self, frames: Uint8) -> None:
        """Count the pixels of frames (N, H, W, 3)."""
        for frame in frames:
            for channel in range(3):
                levels = frame[..., channel].ravel()
                self._counts[channel] += np.bincount(levels, minlength=256)
        self._frames += len(frames)

    def summarize(self) -> dict[str, Any]:
        """LeRobot's statistics of a camera: of levels over 255, shaped (3, 1, 1)."""
        values = [_summarize_levels(counts) for counts in self._counts]
        stats = {key: [[[value[key] / 255]] for value in values] for key in values[0]}
        return {**stats, "count": [self._frames]}


def _summarize_levels(counts: NDArray[np.int64]) -> dict[str, float]:
    levels, total = np.arange(256), int(counts.sum())
    mean = float((levels * counts).sum() / total)
    variance = float((np.square(levels - mean) * counts).sum() / total)
    seen = np.flatnonzero(counts)
    below = np.cumsum(counts)

    def quantile(share: float) -> float:
        """Between order statistics, as np.quantile does it over the pixels themselves."""
        rank = share * (total - 1)
        low, high = np.searchsorted(below, [int(rank), int(np.ceil(rank))], side="right")
        return float(low + (rank - int(rank)) * (high - low))

    quantiles = {key: quantile(share) for key, share in QUANTILES.items()}
    bounds = {"min": float(seen[0]), "max": float(seen[-1])}
    return {**bounds, "mean": mean, "std": variance**0.5, **quantiles}


def write_statistics(folder: Path, cameras: dict[str, PixelCounts]) -> None:
    """Replace meta/stats.json by exact values over every row of the finished data set.

    Args:
        folder: the data set; its tables are read.
        cameras: pixel counts by feature key.
    """
    features = read_json(folder / "meta/info.json")["features"]
    stats: dict[str, Any] = {key: counts.summarize() for key, counts in cameras.items()}
    tables = sorted(folder.glob("data/*/*.parquet"))
    for key, spec in features.items():
        if spec["dtype"] in ("image", "video", "string"):
            continue
        width = int(spec["shape"][0])
        parts = [read_matrix(read_table(path, [key]), key, width) for path in tables]
        values = np.concatenate(parts).astype(np.float64)
        exact = summarize(values, tuple(f"{key}[{index}]" for index in range(width)))
        stats[key] = {
            **{name: getattr(exact, name).tolist() for name in ("min", "max", "mean", "std")},
            "count": [exact.count],
            **{name: np.quantile(values, q, axis=0).tolist() for name, q in QUANTILES.items()},
        }
    write_json(folder / FILE, stats)
