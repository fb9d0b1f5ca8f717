import torch
from hypothesis import given
from hypothesis import strategies as st

from policies.backbones.interface import Context, ContextShape
from policies.heads.config import TokensConfig


def make_head(*, bins=256, bound=1.0):
    config = TokensConfig(width=16, layers=2, attention_heads=2, bins=bins, bound=bound)
    torch.manual_seed(0)
    return config.build(shape=ContextShape(dim=8), action_dim=2, horizon=3)


def make_context(size=4):
    generator = torch.Generator().manual_seed(0)
    return Context(
        tokens=torch.randn(size, 3, 8, generator=generator),
        mask=torch.ones(size, 3, dtype=torch.bool),
        pooled=torch.zeros(size, 8),
    )


@given(
    bins=st.integers(2, 512),
    bound=st.floats(0.5, 3),
    values=st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=8),
)
def test_round_trip_is_off_by_half_a_bin_at_most(bins, bound, values):
    head = make_head(bins=bins, bound=bound)
    actions = torch.tensor(values) * bound
    error = (head.decode(head.encode(actions)) - actions).abs()
    assert (error <= bound / bins * (1 + 1e-4) + 1e-6).all()


def test_edges_have_bins_of_their_own():
    """No folding at the upper edge, and saturation beyond both."""
    head = make_head()
    assert head.encode(torch.tensor([-7.0, -1.0, 0.0, 0.999, 1.0, 7.0])).tolist() == [
        0, 0, 128, 255, 255, 255,
    ]  # fmt: skip
    centres = head.decode(torch.arange(256))
    assert torch.equal(head.encode(centres), torch.arange(256))


def test_only_bins_are_written():
    """A chunk consists of bin centres whatever the weights say."""
    head = make_head(bins=5)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.normal_(std=3.0)
        plan = head.sample(make_context(), None, torch.zeros(4, 3, 2))
    centres = head.decode(torch.arange(5))
    assert torch.isin(plan, centres).all()


def test_writing_agrees_with_teacher_forcing():
    """The cache is right: each written symbol is the likeliest one given those before."""
    head = make_head(bins=7)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.normal_(std=0.5)
        head.leave[1].bias.zero_()
        context = make_context()
        plan = head.sample(context, None, torch.zeros(4, 3, 2))
        symbols = head.encode(plan).flatten(1)
        scores = {}
        head.leave.register_forward_hook(lambda module, x, y: scores.update(last=y))
        head.loss(context, plan, torch.ones_like(plan), generator=torch.Generator())
    assert torch.equal(scores["last"].argmax(dim=-1), symbols)
    assert len(symbols.unique()) > 2


def test_no_symbol_sees_itself_or_later_ones():
    head, context = make_head(bins=7), make_context(1)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.normal_(std=0.5)
    scores = []
    head.leave.register_forward_hook(lambda module, x, y: scores.append(y[0]))
    for value in (-0.9, 0.9):
        actions = torch.zeros(1, 3, 2)
        actions[0, 1, 1] = value  # the fourth symbol
        head.loss(context, actions, torch.ones(1, 3, 2), generator=torch.Generator())
    assert torch.equal(scores[0][:4], scores[1][:4])
    assert not torch.allclose(scores[0][4:], scores[1][4:])
