"""Relative actions: the network's view changes, what goes in and comes out does not."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.torch import load_file, save_file

from policies.config import VlaPolicyConfig
from policies.family_policy import FamilyPolicy
from policies.relative import Pairs, pair, to_absolute, to_relative
from tests.policies.samples import (
    EMBODIMENT,
    HEADS,
    HORIZON,
    REACHING,
    TINY,
    batch,
    build,
    observations,
    statistics,
    stir,
)
from vla.data.mixture import assemble, to_joint
from vla.embodiment import Axis
from vla.errors import ConfigError, StatisticsError
from vla.family import Family

# A second body: other places for the axes, and one more pair.
TURNED = replace(
    REACHING,
    name="turned",
    state=(Axis(name="lift", unit="m", low=0, high=1), *REACHING.state[1:]),
    action=(
        Axis(name="lift", unit="m", low=0, high=1),
        Axis(name="dy", unit="m", low=-0.4, high=0.4, mode="delta"),
        Axis(name="joint1", unit="rad", low=-3, high=3),
    ),
)
FAMILY, _ = Family.unite([REACHING, TURNED], {"main": ["front"], "hand": ["wrist"]}, (16, 16))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


class Zeros(torch.nn.Module):
    """A head that plans nothing but zeros."""

    def sample(self, context, pending, noise, *, tentative=None):
        return torch.zeros_like(noise)


def vectors(*shape):
    return hnp.arrays(np.float32, shape, elements=st.floats(-4, 4, width=32))


@given(actions=vectors(2, 3, 4), state=vectors(2, 5))
def test_there_and_back_again(actions, state):
    pairs = Pairs(action=(3, 0), state=(1, 4))
    rows, present = torch.from_numpy(actions), torch.from_numpy(state)
    told = to_relative(rows, present, pairs)
    for axis, partner in ((3, 1), (0, 4)):
        assert torch.equal(told[:, :, axis], rows[:, :, axis] - present[:, None, partner])
    assert torch.equal(told[:, :, [1, 2]], rows[:, :, [1, 2]])
    torch.testing.assert_close(to_absolute(told, present, pairs), rows, atol=2e-6, rtol=0)
    assert torch.equal(to_relative(rows, present, Pairs()), rows)


def test_axes_say_how_they_are_told():
    (pairs,) = pair((REACHING,), relative=True)
    axes = pairs.axes(REACHING)
    assert (axes[0].mode, axes[0].low, axes[0].high) == ("relative", -6, 6)
    assert axes[1:] == REACHING.action[1:]
    assert Pairs().axes(REACHING) == REACHING.action


@pytest.mark.parametrize("kind", HEADS)
def test_the_head_learns_the_distance_from_the_newest_state(kind, monkeypatch):
    policy, data = build(kind, history=2, relative_actions=True), batch(history=2)
    given = []
    learn = policy.head.loss

    def spy(context, actions, mask, *, generator):
        given.append(actions)
        return learn(context, actions, mask, generator=generator)

    monkeypatch.setattr(policy.head, "loss", spy)
    policy.loss(data, generator=seeded())
    told = policy.action_normalizer.inverse(given[0])
    wanted = data.actions.clone()
    wanted[:, :, 0] -= data.state[:, None, -1, 1]
    torch.testing.assert_close(told, wanted)


def test_zeros_hold_the_position():
    policy = build("regression", relative_actions=True)
    policy.head = Zeros()
    for seen, chunk in zip(
        observations(4), policy.act(observations(4), seeds=range(4)), strict=True
    ):
        assert (chunk.actions[:, 0] == seen.state[-1, 1]).all()
        assert (chunk.actions[:, 1] == 0).all()


def test_plans_end_at_the_bounds():
    policy, seen = build("regression", relative_actions=True), observations(1)[0]
    policy.head = Zeros()
    seen.state[-1, 1] = 3.5
    assert (policy.act([seen], seeds=[0])[0].actions[:, 0] == 3).all()


@pytest.mark.parametrize("kind", ["flow", "diffusion", "tokens"])
def test_committed_rows_are_told_like_the_rest(kind, monkeypatch):
    policy = stir(build(kind, relative_actions=True))
    seen, got = observations(1, pending=[2])[0], []
    plan = policy.head.sample

    def spy(context, pending, noise, *, tentative=None):
        got.append(policy.action_normalizer.inverse(pending)[0])
        return plan(context, pending, noise, tentative=tentative)

    monkeypatch.setattr(policy.head, "sample", spy)
    chunk = policy.act([seen], seeds=[0])[0]
    np.testing.assert_array_equal(chunk.actions[:2], seen.pending)
    wanted = seen.pending - [seen.state[-1, 1], 0, 0]
    np.testing.assert_allclose(got[0].numpy(), wanted, atol=1e-6)


def test_wrong_statistics_are_refused():
    config = build("regression", relative_actions=True).config
    with pytest.raises(StatisticsError, match=r"absolute actions on the axes \['joint1'\]"):
        config.build(REACHING, statistics(REACHING))
    relative = statistics(REACHING, relative=True)
    with pytest.raises(StatisticsError, match=r"joint1.*8 rows; the policy plans 4"):
        config.build(REACHING, replace(relative, horizon=8))
    plain = replace(config, relative_actions=False)
    with pytest.raises(StatisticsError, match=r"relative actions on the axes \['joint1'\]"):
        plain.build(REACHING, relative)
    both = [relative, statistics(TURNED)]
    with pytest.raises(StatisticsError, match=r"'turned'.*\['lift', 'joint1'\]"):
        FamilyPolicy(config, FAMILY, both)


def test_a_body_without_pairs_cannot_be_relative():
    config = build("regression", relative_actions=True).config
    with pytest.raises(ConfigError, match=r"relative_actions.*'sample'.*dx \(m, delta\).*joint0"):
        config.build(EMBODIMENT, statistics())
    alone, _ = Family.unite([EMBODIMENT], {"main": ["front"]}, (16, 16))
    with pytest.raises(ConfigError, match="relative_actions"):
        FamilyPolicy(config, alone, [statistics()])


def test_relative_actions_are_overfitted():
    policy, data = build("regression", relative_actions=True), batch()
    optimizer = torch.optim.Adam(policy.parameters(), 3e-3)
    for _ in range(80):
        loss, _ = policy.loss(replace(data, labels={}), generator=seeded())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    planned = np.stack([c.actions for c in policy.act(observations(), seeds=range(4))])
    error = np.abs(planned - data.actions.numpy()).mean(axis=(0, 1))
    assert (error < 0.3 * data.state[:, -1, 1].std().item()).all(), error


# Families


def build_family(kind="regression", *, filled=True):
    torch.manual_seed(0)
    config = VlaPolicyConfig(
        horizon=HORIZON, backbone=TINY, head=HEADS[kind], relative_actions=True
    )
    known = [statistics(body, relative=True) for body in (REACHING, TURNED)]
    return stir(FamilyPolicy(config, FAMILY, known if filled else None))


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("body", [REACHING, TURNED], ids=["reaching", "turned"])
def test_a_family_acts_in_absolute_actions(kind, body, tmp_path):
    policy = build_family(kind)
    policy.become(body)
    seen = observations(3, pending=[0, 2, 1])
    chunks = policy.act(seen, seeds=[0, 1, 2])
    for chunk, one in zip(chunks, seen, strict=True):
        if one.pending is not None:
            np.testing.assert_array_equal(chunk.actions[: len(one.pending)], one.pending)
    save_file(policy.state_dict(), tmp_path / "weights.safetensors")
    other = build_family(kind, filled=False)
    other.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    other.become(body)
    for one, two in zip(chunks, other.act(seen, seeds=[0, 1, 2]), strict=True):
        np.testing.assert_array_equal(one.actions, two.actions)


def test_zeros_hold_the_position_of_each_body():
    policy, seen = build_family(), observations(1)[0]
    policy.inner.head = Zeros()
    seen.state[-1, 0] = 0.25  # of the lift, which has bounds
    for body, columns in ((REACHING, {0: 1}), (TURNED, {0: 0, 2: 1})):
        policy.become(body)
        rows = policy.act([seen], seeds=[0])[0].actions
        for axis, partner in columns.items():
            assert (rows[:, axis] == seen.state[-1, partner]).all()


def test_each_body_of_a_batch_is_told_from_its_own_state(monkeypatch):
    policy, views = build_family(), {"main": "front", "hand": "wrist"}
    sources = [batch(2, seed=1), batch(2, seed=2)]
    parts = [to_joint(source, FAMILY, i, views) for i, source in enumerate(sources)]
    mixed = assemble(parts, [torch.tensor([0, 2]), torch.tensor([1, 3])])
    given = []
    monkeypatch.setattr(policy.inner, "loss", lambda joint, generator: given.append(joint.actions))
    before = mixed.actions.clone()
    policy.loss(mixed, generator=seeded())
    assert torch.equal(mixed.actions, before)
    for index, columns in enumerate(({0: 1}, {0: 0, 2: 1})):
        own = given[0][index::2][..., FAMILY.slots("action", index)]
        wanted = sources[index].actions.clone()
        for axis, partner in columns.items():
            wanted[..., axis] -= sources[index].state[:, None, -1, partner]
        torch.testing.assert_close(policy.action.members[index].inverse(own), wanted)
