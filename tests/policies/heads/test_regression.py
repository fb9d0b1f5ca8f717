import torch

from policies.backbones.interface import Context, ContextShape
from policies.heads.config import RegressionConfig


def test_two_modes_give_their_median():
    """L1 settles on the more frequent of two answers, where a mean would lie between."""
    torch.manual_seed(0)
    head = RegressionConfig(width=16, layers=1, smooth=0.0).build(
        shape=ContextShape(dim=4), action_dim=1, horizon=2
    )
    context = Context(
        tokens=torch.zeros(5, 1, 4), mask=torch.ones(5, 1, dtype=torch.bool),
        pooled=torch.ones(5, 4),
    )  # fmt: skip
    actions = torch.tensor([1.0, 1, 1, -1, -1]).view(5, 1, 1).expand(5, 2, 1)
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-2)
    for _ in range(200):
        loss = head.loss(context, actions, torch.ones(5, 2, 1), generator=torch.Generator())
        optimizer.zero_grad()
        loss.mean().backward()
        optimizer.step()
    plan = head.sample(context, None, torch.zeros(5, 2, 1))
    assert (plan > 0.8).all()
