import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vla.data.convert import lerobot_sets as sets
from vla.data.convert.lerobot_stats import QUANTILES, PixelCounts, write_statistics


@given(seed=st.integers(0, 2**32 - 1), levels=st.integers(1, 256), frames=st.integers(1, 4))
@settings(max_examples=30)
def test_pixel_statistics_are_those_of_all_pixels(seed, levels, frames):
    pixels = np.random.default_rng(seed).integers(0, levels, (frames, 3, 5, 3), np.uint8)
    counts = PixelCounts()
    for part in np.split(pixels, [frames // 2]):
        counts.add(part)
    found = counts.summarize()
    values = pixels.reshape(-1, 3) / 255
    assert found["count"] == [frames]
    for key in ("min", "max", "mean", "std"):
        expected = getattr(values, key)(axis=0)
        np.testing.assert_allclose(np.array(found[key])[:, 0, 0], expected, atol=1e-12)
    for key, share in QUANTILES.items():
        expected = np.quantile(values, share, axis=0)
        np.testing.assert_allclose(np.array(found[key])[:, 0, 0], expected, atol=1e-12)


def test_quantiles_are_of_all_rows_not_of_episodes(tmp_path):
    lengths = (3, 40, 5)
    folder = sets.write_set(tmp_path / "set", "v3.0", "image", lengths=lengths)
    write_statistics(folder, {})
    stats = json.loads((folder / "meta/stats.json").read_text())
    starts = np.cumsum([0, *lengths])
    rows = np.concatenate(
        [sets.numbers(n, first, 3) for n, first in zip(lengths, starts, strict=False)]
    ).astype(np.float64)
    for key, share in QUANTILES.items():
        expected = np.quantile(rows, share, axis=0)
        assert stats["observation.state"][key] == pytest.approx(expected.tolist(), abs=0)
    assert stats["observation.state"]["count"] == [48]
    assert stats["observation.state"]["mean"] == pytest.approx(rows.mean(0).tolist())
    assert stats["episode_index"]["max"] == [2]
    assert sets.KEY not in stats
