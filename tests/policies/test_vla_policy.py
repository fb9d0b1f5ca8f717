from dataclasses import replace

import numpy as np
import pytest
import torch

from policies.vla_policy import grounding_loss
from tests.policies.samples import (
    EMBODIMENT,
    HORIZON,
    batch,
    build,
    observations,
    statistics,
    stir,
)
from vla.errors import ConfigError, ShapeError, StatisticsError


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda o: {"images": {"front": o.images["front"]}}, "lacks camera 'wrist'.*front"),
        (lambda o: {"images": {k: v[:, :8] for k, v in o.images.items()}}, r"\(1, 16, 16, 3\)"),
        (lambda o: {"state": o.state[:, :2]}, r"\(1, 3\)"),
        (
            lambda o: {
                "images": {k: np.repeat(v, 2, axis=0) for k, v in o.images.items()},
                "state": np.repeat(o.state, 2, axis=0),
            },
            "T == history",
        ),
        (lambda o: {"pending": np.zeros((HORIZON + 1, 3), np.float32)}, "at most 4 rows"),
        (lambda o: {"pending": np.zeros((1, 2), np.float32)}, "3 axes"),
        (
            lambda o: {
                "pending": np.zeros((2, 3), np.float32),
                "tentative": np.zeros((HORIZON - 1, 3), np.float32),
            },
            "together they must be at most 4 rows",
        ),
        (lambda o: {"tentative": np.zeros((1, 2), np.float32)}, "3 axes"),
    ],
)
def test_observations_out_of_contract_are_refused(change, message):
    policy, good = build("regression"), observations(1)[0]
    with pytest.raises(ShapeError, match=message):
        policy.act([good, replace(good, **change(good))], seeds=[0, 1])


def test_state_spoilt_after_construction_is_refused():
    policy, seen = build("regression"), observations(1)[0]
    seen.state[0, 0] = np.nan
    with pytest.raises(ShapeError, match="NaN"):
        policy.act([seen], seeds=[0])


def test_the_head_is_told_the_last_plan_in_its_own_numbers(monkeypatch):
    """Both parts, relative to the state where actions are; a guided plan lies near them."""
    policy, told = stir(build("flow", relative_actions=True)), {}
    sample = policy.head.sample

    def spy(context, pending, noise, *, tentative=None):
        told.update(pending=pending, tentative=tentative)
        return sample(context, pending, noise, tentative=tentative)

    monkeypatch.setattr(policy.head, "sample", spy)
    (seen,) = observations(1, pending=[1], tentative=[2])
    policy.act([seen], seeds=[0])
    for what in ("pending", "tentative"):
        rows = torch.from_numpy(getattr(seen, what)).clone()
        rows[:, 0] -= float(seen.state[-1, 1])  # joint1
        torch.testing.assert_close(told[what][0], policy.action_normalizer(rows))


def test_one_seed_per_observation():
    with pytest.raises(ShapeError, match="2 observations but 1 seeds"):
        build("regression").act(observations(2), seeds=[0])


def test_nothing_to_do():
    assert build("regression").act([], seeds=[]) == []


def test_extra_cameras_do_not_matter():
    policy, seen = build("flow"), observations(1)[0]
    more = replace(seen, images={**seen.images, "top": seen.images["front"]})
    one, two = policy.act([seen, more], seeds=[3, 3])
    np.testing.assert_allclose(one.actions, two.actions, atol=1e-6)


@pytest.mark.parametrize("kind", ["flow", "diffusion"])
def test_the_seed_decides(kind):
    policy, seen = stir(build(kind)), observations(1)[0]
    one, two, other = (policy.act([seen], seeds=[s])[0].actions for s in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert not np.allclose(one, other)


def test_unfilled_policy_refuses_to_act_and_to_learn():
    policy = build("regression", filled=False)
    with pytest.raises(StatisticsError, match="no statistics"):
        policy.act(observations(1), seeds=[0])
    with pytest.raises(StatisticsError, match="no statistics"):
        policy.loss(batch(), generator=seeded())


def test_foreign_statistics_are_refused():
    swapped = replace(statistics(), state=statistics().action)
    policy = build("regression")
    with pytest.raises(StatisticsError, match="joint0"):
        policy.config.build(EMBODIMENT, swapped)


def test_bounded_axes_must_exist():
    with pytest.raises(ConfigError, match="joint9"):
        build("regression", bounded_axes=["joint9"])


def test_far_states_saturate():
    policy, seen = build("regression"), observations(1)[0]
    far, farther = (replace(seen, state=np.full_like(seen.state, v)) for v in (50.0, 5000.0))
    one, two = (policy.act([each], seeds=[0])[0] for each in (far, farther))
    np.testing.assert_array_equal(one.actions, two.actions)


def test_samples_of_padding_only_do_not_count():
    policy, data = build("regression"), batch(4)
    mask = data.mask.clone()
    mask[2:] = 0
    whole, _ = policy.loss(replace(data, mask=mask, labels={}), generator=seeded())
    first = replace(
        data,
        images={name: image[:2] for name, image in data.images.items()},
        state=data.state[:2],
        instruction=data.instruction[:2],
        actions=data.actions[:2],
        mask=data.mask[:2],
        labels={},
    )
    torch.testing.assert_close(whole, policy.loss(first, generator=seeded())[0])


def test_state_noise_comes_from_the_generator():
    policy, data = build("regression", state_noise=0.5), batch()
    one, two, other = (policy.loss(data, generator=seeded(s))[0] for s in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_grounding_needs_both_sides():
    points = torch.zeros(2, 2)
    assert grounding_loss({"target": points}, {"goal": points}) is None
    data = batch()
    _, parts = build("regression").loss(replace(data, labels={}), generator=seeded())
    assert "grounding" not in parts


def test_grounding_leaves_unknown_points_alone():
    guess = torch.zeros(2, 2, requires_grad=True)
    truth = torch.tensor([[1.0, 1.0], [float("nan"), float("nan")]])
    loss = grounding_loss({"target": guess}, {"target": truth})
    assert loss.item() == pytest.approx(0.95)  # |e| - beta / 2
    loss.backward()
    assert guess.grad[0].all()
    assert not guess.grad[1].any()


def test_grounding_checks_shapes():
    with pytest.raises(ShapeError, match="'target'"):
        grounding_loss({"target": torch.zeros(2, 2)}, {"target": torch.zeros(2, 3)})


def test_history_is_seen():
    policy = build("regression", history=3)
    seen = observations(1, history=3)[0]
    older = replace(seen, state=np.concatenate([seen.state[:1] + 1, seen.state[1:]]))
    one, two = policy.act([seen, older], seeds=[0, 0])
    assert not np.allclose(one.actions, two.actions)
