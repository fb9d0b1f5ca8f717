"""One pass for all (OpenVLA-OFT), against one word at a time."""

from dataclasses import replace

import pytest
import torch

from policies.heads.config_language import ParallelConfig, ParallelDiffusionConfig, WordsConfig
from policies.heads.parallel import ResidualMlp
from tests.contracts.test_language_heads import BACKBONE, encode
from tests.policies.samples import EMBODIMENT, HORIZON, batch, build, observations, stir
from vla.errors import ConfigError, ShapeError

AXES = len(EMBODIMENT.action)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("config", "passes"),
    [
        (ParallelConfig(width=32), 1),
        (WordsConfig(), HORIZON * AXES),
        (ParallelDiffusionConfig(width=32, train_steps=10, steps=5), 1 + 5),
    ],
)
def test_passes_of_the_language_model(config, passes):
    policy = build(config, backbone=BACKBONE).eval()
    calls = []
    policy.backbone.decoder.register_forward_hook(lambda *_: calls.append(1))
    policy.act(observations(1), seeds=[0])
    assert len(calls) == passes


def test_earlier_rows_depend_on_later_placeholders():
    policy = build(ParallelConfig(width=32), backbone=BACKBONE).eval()
    with torch.no_grad():
        before = policy.head.sample(encode(policy, batch()), None, torch.zeros(4, HORIZON, AXES))
        policy.backbone._readouts[-1] += 1.0
        after = policy.head.sample(encode(policy, batch()), None, torch.zeros(4, HORIZON, AXES))
    assert not torch.allclose(before[:, 0], after[:, 0])


@pytest.mark.parametrize("causal", [False, True])
def test_scalars_see_each_other(causal):
    """The control: with a causal mask no row answers to a later one."""
    policy = stir(build(ParallelDiffusionConfig(width=32), backbone=BACKBONE)).eval()
    with torch.no_grad():
        context = encode(policy, batch())
    if causal:
        extend = context.language.extend

        class Causal:
            tokenizer, embed = context.language.tokenizer, context.language.embed
            score = context.language.score

            def extend(self, embedded, prefix, visible=None):
                return extend(embedded, prefix)

        context = replace(context, language=Causal())

    def answer(x):
        rows = policy.head.denoiser(x, torch.full((4,), 0.5), context)
        return rows.sum(dim=(0, 2))

    noise = torch.randn(4, HORIZON, AXES, generator=seeded())
    depends = torch.autograd.functional.jacobian(answer, noise).abs().sum(dim=(1, 3)) > 0
    everyone = torch.ones(HORIZON, HORIZON, dtype=torch.bool)
    assert torch.equal(depends, everyone.tril() if causal else everyone)


def test_untrained_diffusion_answers_nothing():
    policy = build(ParallelDiffusionConfig(), backbone=BACKBONE).eval()
    with torch.no_grad():
        context = encode(policy, batch())
        x = torch.randn(4, HORIZON, AXES, generator=seeded())
        assert not policy.head.denoiser(x, torch.full((4,), 0.5), context).any()


def test_loss_is_the_mean_absolute_error():
    policy = build(ParallelConfig(width=32), backbone=BACKBONE).eval()
    with torch.no_grad():
        context, actions = encode(policy, batch()), batch().actions
        plan = policy.head.sample(context, None, actions)
        loss = policy.head.loss(context, actions, torch.ones_like(actions), generator=seeded())
    torch.testing.assert_close(loss, (plan - actions).abs().mean(dim=(1, 2)))


def test_residual_mlp_is_ofts():
    """LN, linear, ReLU; blocks x + ReLU(linear(LN(x))); LN, linear."""
    torch.manual_seed(0)
    net, x = ResidualMlp(6, 8, 3, blocks=2), torch.randn(5, 6)
    norm = torch.nn.functional.layer_norm
    y = torch.relu(net.enter[1](norm(x, (6,))))
    for block in net.blocks:
        y = y + torch.relu(block[1](norm(y, (8,))))
    torch.testing.assert_close(net(x), net.leave[1](norm(y, (8,))))


def test_missing_placeholders_are_named():
    policy = build(ParallelConfig(width=32), backbone=BACKBONE).eval()
    context = replace(encode(policy, batch()), readouts=None)
    with pytest.raises(ShapeError, match="one per scalar"):
        policy.head.sample(context, None, torch.zeros(4, HORIZON, AXES))
    for wrong in ({"blocks": 0}, {"width": -1}):
        with pytest.raises(ConfigError):
            ParallelConfig(**wrong)
