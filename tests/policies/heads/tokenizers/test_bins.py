import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from policies.heads.tokenizers.bins import EdgeBins, UniformBins

NUMBERS = st.lists(st.floats(-1, 1, width=32), min_size=6, max_size=6)


@given(bins=st.integers(2, 512), bound=st.floats(0.5, 3), values=NUMBERS)
def test_uniform_bins_are_off_by_half_a_bin_at_most(bins, bound, values):
    tokenizer = UniformBins(bins=bins, bound=bound)
    actions = torch.tensor(values).view(1, 3, 2) * bound
    sequences = tokenizer.encode(actions)
    assert all(0 <= symbol < tokenizer.vocabulary for symbol in sequences[0])
    decoded = tokenizer.decode(sequences, horizon=3, axes=2)
    assert decoded.valid.all()
    assert ((decoded.actions - actions).abs() <= bound / bins * (1 + 1e-4) + 1e-6).all()


@given(values=NUMBERS)
def test_edge_bins_are_those_of_openvla(values):
    """Written from the published description with NumPy, ids included."""
    actions = np.array(values, np.float32)
    edges = np.linspace(-1, 1, 256)
    centres = (edges[:-1] + edges[1:]) / 2
    digits = np.digitize(np.clip(actions, -1, 1), edges)
    ids = 32000 - digits
    back = centres[np.clip(32000 - ids - 1, 0, 254)]
    tokenizer = EdgeBins()
    sequences = tokenizer.encode(torch.from_numpy(actions).view(1, 3, 2))
    assert sequences == [ids.tolist()]
    decoded = tokenizer.decode(sequences, horizon=3, axes=2)
    assert decoded.valid.all()
    np.testing.assert_allclose(decoded.actions.flatten(), back, atol=1e-6)
    assert np.abs(back - actions).max() <= 1 / 255 + 1e-6  # half of 2 / 255


def test_the_upper_edge_folds():
    """1.0 has an id of its own, and the number of the id beside it."""
    tokenizer = EdgeBins()
    ids = tokenizer.quantize(torch.tensor([-7.0, -1.0, 0.9999, 1.0, 7.0]))
    assert ids.tolist() == [31999, 31999, 31745, 31744, 31744]
    centres = tokenizer.restore(ids)
    assert centres[2] == centres[3] == centres[4] == -centres[0]
    assert len({round(x, 6) for x in tokenizer.restore(torch.arange(31744, 32000)).tolist()}) == 255


def test_flawed_sequences_are_read_up_to_the_flaw():
    for tokenizer, good in ((UniformBins(), 200), (EdgeBins(), 31800)):
        sequences = [[good] * 4, [good, -1, good, good], [good], [good] * 5, [10**9] * 4, []]
        decoded = tokenizer.decode(sequences, horizon=2, axes=2)
        assert decoded.valid.tolist() == [True, False, False, False, False, False]
        assert decoded.actions.isfinite().all()
        kept = (decoded.actions != 0).flatten(1).sum(dim=1)
        assert kept.tolist() == [4, 1, 1, 4, 0, 0]
