"""A policy of two bodies: the contract for each, statistics kept apart, nothing mixed up."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from policies.config import VlaPolicyConfig
from policies.family_policy import FamilyPolicy
from tests.policies.samples import (
    EMBODIMENT,
    HEADS,
    HORIZON,
    TINY,
    batch,
    observations,
    statistics,
    stir,
)  # fmt: skip
from vla.contract import Policy
from vla.data.mixture import assemble, to_joint
from vla.embodiment import Axis
from vla.errors import ConfigError, ContractError, EmbodimentMismatch, ShapeError, StatisticsError
from vla.family import Family

OTHER = replace(
    EMBODIMENT,
    name="other",
    state=(
        Axis(name="joint1", unit="rad", low=-3, high=3),
        Axis(name="lift", unit="m", low=0, high=1),
    ),
    action=(
        Axis(name="gripper", unit="1", low=0, high=1),
        Axis(name="dy", unit="m", low=-0.4, high=0.4, mode="delta"),
    ),
    cameras={"front": EMBODIMENT.cameras["front"]},
)
FAMILY, MEMBERS = Family.unite(
    [EMBODIMENT, OTHER, replace(OTHER, name="twin")],
    {"main": ["front"], "hand": ["wrist"]},
    (16, 16),
)


def build(kind="regression", **options):
    torch.manual_seed(0)
    config = VlaPolicyConfig(horizon=HORIZON, backbone=TINY, head=HEADS[kind], **options)
    return stir(FamilyPolicy(config, FAMILY, [statistics(), statistics(OTHER)]))


def other_batch(size=4, seed=5):
    """A batch of the other body: its axes are cut out of the first one's."""
    whole = batch(size, seed=seed)
    return replace(
        whole,
        images={"front": whole.images["front"]},
        state=whole.state[..., 1:].abs().clamp(0, 1),
        actions=whole.actions[..., [2, 1]],
        mask=whole.mask[..., [2, 1]],
        labels={},
    )


def joint_batch():
    views = [{"main": "front", "hand": "wrist"}, {"main": "front", "hand": ""}]
    parts = [to_joint(batch(4), FAMILY, 0, views[0]), to_joint(other_batch(), FAMILY, 1, views[1])]
    return assemble(parts, [torch.tensor([0, 2, 4, 6]), torch.tensor([1, 3, 5, 7])])


def as_other(many):
    return [
        replace(
            one,
            images={"front": one.images["front"]},
            state=np.abs(one.state[:, 1:]).clip(0, 1),
            pending=None if one.pending is None else one.pending[:, [2, 1]],
            tentative=None if one.tentative is None else one.tentative[:, [2, 1]],
        )
        for one in many
    ]


def test_bodies_with_equal_axes_are_one_member():
    assert MEMBERS == [0, 1, 1]
    assert [member.name for member in FAMILY.members] == ["sample", "other"]
    assert [axis.name for axis in FAMILY.joint.action] == ["dx", "dy", "gripper"]
    assert [axis.name for axis in FAMILY.joint.state] == ["joint0", "joint1", "joint2", "lift"]
    assert FAMILY.slots("action", 1).tolist() == [2, 1]
    assert Family.from_json(FAMILY.to_json()) == FAMILY


def test_axes_of_one_name_and_two_meanings_keep_apart():
    absolute = replace(OTHER, action=(Axis(name="dy", unit="m", low=-1, high=1),))
    family, _ = Family.unite([EMBODIMENT, absolute], {"main": ["front"]}, (16, 16))
    names = [axis.name for axis in family.joint.action]
    assert len(names) == len(set(names)) == 4
    flipped = replace(EMBODIMENT, gripper="open_is_zero")
    family, which = Family.unite([EMBODIMENT, flipped], {"main": ["front"]}, (16, 16))
    assert which == [0, 1]
    assert len(family.joint.action) == 4  # the two grippers do not share a slot


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("body", [EMBODIMENT, OTHER])
def test_the_contract_holds_for_each_body(kind, body):
    policy = build(kind)
    policy.become(body)
    assert isinstance(policy, Policy)
    many = observations(3, pending=[0, 2, 1], tentative=[1, 1, 0])
    many = many if body is EMBODIMENT else as_other(many)
    chunks = policy.act(many, seeds=[0, 1, 2])
    low = np.array([axis.low for axis in body.action], np.float32)
    high = np.array([axis.high for axis in body.action], np.float32)
    for chunk, one in zip(chunks, many, strict=True):
        assert chunk.actions.shape == (HORIZON, len(body.action))
        assert (chunk.actions >= low).all()
        assert (chunk.actions <= high).all()
        if one.pending is not None:
            np.testing.assert_array_equal(chunk.actions[: len(one.pending)], one.pending)
    alone = policy.act([many[1]], seeds=[1])[0]
    np.testing.assert_allclose(alone.actions, chunks[1].actions, atol=1e-5)


@pytest.mark.parametrize("kind", ["regression", "flow", "diffusion", "tokens"])
def test_one_batch_of_both_bodies_is_learned(kind):
    policy, mixed = build(kind), joint_batch()
    optimizer = torch.optim.Adam(policy.parameters(), 3e-3)

    def loss():
        return policy.loss(mixed, generator=torch.Generator().manual_seed(0))[0]

    before = loss().item()
    for _ in range(40):
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
    assert value.item() < 0.6 * before


def test_absent_axes_and_padding_have_no_say():
    policy, mixed = build(), joint_batch()
    poisoned = replace(mixed, actions=torch.where(mixed.mask > 0, mixed.actions, 1e6))

    def loss(of):
        return policy.loss(of, generator=torch.Generator().manual_seed(0))[0]

    assert torch.equal(loss(mixed), loss(poisoned))


def test_each_body_is_normalised_by_its_own_statistics():
    policy = build()
    mixed = joint_batch()
    own = policy.state.members[1](other_batch().state)
    joint = policy.state(mixed.state, mixed.member)
    torch.testing.assert_close(joint[1::2][..., FAMILY.slots("state", 1)], own)
    row = np.array([[0.3, 0.1]], np.float32)
    back = policy.action.leave(policy.action.enter(row, 1), 1)
    np.testing.assert_allclose(back, row, atol=1e-6)


def test_what_does_not_belong_is_refused():
    policy = build()
    with pytest.raises(EmbodimentMismatch, match="None of the bodies"):
        policy.become(replace(EMBODIMENT, hz=3.0))
    with pytest.raises(ShapeError, match="which body"):
        policy.loss(batch(4), generator=torch.Generator())
    policy.become(OTHER)
    with pytest.raises(ShapeError, match="axes"):
        policy.act(observations(1), seeds=[0])
    with pytest.raises(ShapeError, match="front"):
        policy.act([replace(o, images={}) for o in as_other(observations(1))], seeds=[0])
    (seen,) = as_other(observations(1))
    wide = replace(seen, pending=np.zeros((1, 3), np.float32))
    long = replace(seen, tentative=np.zeros((1, 3), np.float32))
    with pytest.raises(ShapeError, match="tentative rows have 3 axes; 'other' has 2"):
        policy.act([long], seeds=[0])
    with pytest.raises(ShapeError, match="pending rows have 3 axes; 'other' has 2"):
        policy.act([wide], seeds=[0])
    with pytest.raises(ConfigError, match="bounded_axes"):
        build(bounded_axes=["nose"])
    with pytest.raises(StatisticsError, match="other"):
        FamilyPolicy(policy.inner.config, FAMILY, [statistics(), statistics()])
    with pytest.raises(ContractError, match="no camera called wrist"):
        Family.unite([EMBODIMENT, OTHER], {"hand": ["wrist"]}, (16, 16))
    with pytest.raises(ContractError, match="family"):
        Family.from_json({"members": []})
