"""Our experts against LeRobot's, with the same small random weights and the same prefix."""

import pytest
import torch

from policies.backbones.interface import Context, ContextShape, Geometry, Prefix
from policies.checkpoints import pi0, smolvla
from policies.heads.config_expert import ExpertConfig
from tests.policies.checkpoints.lerobot_samples import serve_from_memory

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    # torchao's sources, compiled on the first import through lerobot
    pytest.mark.filterwarnings("ignore:invalid escape sequence:SyntaxWarning"),
]
HORIZON, LANES, STATE, SIZE, WORDS, LAYERS = 5, 6, 4, 3, 7, 2
EXACT = {"atol": 1e-5, "rtol": 1e-5}


def scatter(model, seed):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            scale = 0.3 if "norm" in name or weight.ndim < 2 else weight.shape[-1] ** -0.5
            weight.copy_(torch.randn(weight.shape, generator=generator) * scale)
    return model.eval()


def numbers(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def real_words():
    mask = torch.ones(SIZE, WORDS, dtype=torch.bool)
    mask[0, 5:] = False
    mask[1, 2:4] = False  # a missing camera: a hole in the middle
    return mask


def make_pi(monkeypatch, package):
    """A tiny PI0Pytorch or PI05Pytorch; its eyes are never used."""
    from lerobot.policies.pi0 import configuration_pi0, modeling_pi0
    from lerobot.policies.pi05 import configuration_pi05, modeling_pi05
    from transformers import PaliGemmaConfig

    module = {"pi0": modeling_pi0, "pi05": modeling_pi05}[package]
    eyes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    mapping = dict(module.CONFIG_MAPPING.items())
    mapping["paligemma"] = lambda: PaliGemmaConfig(vision_config=eyes)
    monkeypatch.setattr(module, "CONFIG_MAPPING", mapping)
    sizes = {"gemma_2b": (32, 64), "gemma_300m": (16, 48)}
    # LeRobot's joint pass has 8 heads written into it.
    monkeypatch.setattr(
        module,
        "get_gemma_config",
        lambda variant: module.GemmaConfig(sizes[variant][0], LAYERS, sizes[variant][1], 8, 1, 8),
    )
    options = {"max_action_dim": LANES, "chunk_size": HORIZON, "n_action_steps": HORIZON}
    if package == "pi0":
        config = configuration_pi0.PI0Config(**options, max_state_dim=STATE, device="cpu")
        model = module.PI0Pytorch(config)
    else:
        config = configuration_pi05.PI05Config(**options, device="cpu")
        model = module.PI05Pytorch(config)
    model = scatter(model, 0)
    embedded, mask = numbers(SIZE, WORDS, 32, seed=1), real_words()
    model.embed_prefix = lambda *_: (embedded, mask, torch.zeros(SIZE, WORDS, dtype=torch.bool))
    return model


def read_pi(model):
    """The prefix, from LeRobot's own language model."""
    from lerobot.policies.common.vla_utils import make_att_2d_masks, prepare_attention_masks_4d

    embedded, mask, blocks = model.embed_prefix()
    positions = mask.cumsum(dim=1) - 1
    _, cache = model.paligemma_with_expert.forward(
        attention_mask=prepare_attention_masks_4d(make_att_2d_masks(mask, blocks)),
        position_ids=positions,
        inputs_embeds=[embedded, None],
        use_cache=True,
    )
    layers = tuple((layer.keys, layer.values) for layer in cache.layers)
    return Prefix(layers=layers, mask=mask, positions=positions)


def make_context(prefix, state=None):
    dummy = torch.zeros(SIZE, 1, 8)
    return Context(
        tokens=dummy,
        mask=torch.ones(SIZE, 1, dtype=torch.bool),
        pooled=dummy[:, 0],
        prefix=prefix,
        state=None if state is None else state.unsqueeze(1),
    )


def geometry(**changes):
    plain = dict(width=32, layers=LAYERS, heads=8, key_value_heads=1, head_dim=8)
    return Geometry(**(plain | changes), rope_theta=10000.0, vocabulary=99)


def build(config, sizes):
    shape = ContextShape(dim=sizes.width, state_dim=STATE, language=sizes)
    return config.build(shape=shape, action_dim=LANES, horizon=HORIZON).eval()


def compare(head, context, step, noise):
    """Our velocity is minus theirs, whose time runs from 1, the noise, to 0."""
    read = head.denoiser.read(context)
    for time in (0.0, 0.3, 0.999):
        times = torch.full((SIZE,), time)
        ours = head.denoiser(noise, times, read)
        torch.testing.assert_close(ours, -step(noise, 1 - times), **EXACT)
        assert ours.abs().mean() > 0.01, "a comparison of zeros proves nothing"


@torch.no_grad()
@pytest.mark.parametrize("package", ["pi0", "pi05"])
def test_pi_expert_equals_lerobot(monkeypatch, package):
    model = make_pi(monkeypatch, package)
    noise, state = numbers(SIZE, HORIZON, LANES, seed=2), numbers(SIZE, STATE, seed=3)
    weights = {f"model.{name}": weight for name, weight in model.state_dict().items()}
    if package == "pi0":
        config = ExpertConfig(width=16, mlp=48)
        ours = pi0.translate_expert(weights, layers=LAYERS, state_dim=STATE)
        given = (state,)
    else:
        config = ExpertConfig(width=16, mlp=48, time="norm", state="none")
        ours = pi0.translate_adaptive_expert(weights, layers=LAYERS)
        given = ()
    head = build(config, geometry())
    head.load_state_dict(ours, strict=True)
    prefix = read_pi(model)
    context = make_context(prefix, state)

    from transformers import DynamicCache

    compare(
        head,
        context,
        lambda x, time: model.denoise_step(
            *given, prefix.mask, DynamicCache(prefix.layers), x, time
        ),
        noise,
    )
    chunk = model.sample_actions(None, None, real_words(), None, *given, noise=noise)
    torch.testing.assert_close(head.sample(context, None, noise), chunk, **EXACT)
    # Their training pass is joint: language model and expert in one, no cache. (Times that float32
    # can be subtracted from 1 exactly; the fastest wave makes 1e-4 of the last bit.)
    actions, time = numbers(SIZE, HORIZON, LANES, seed=4), torch.tensor([0.25, 0.875, 0.5])
    losses = model.forward(None, None, None, None, *given, actions, noise, time)
    at = time.view(-1, 1, 1)
    noisy = at * noise + (1 - at) * actions
    velocity = head.denoiser(noisy, 1 - time, head.denoiser.read(context))
    torch.testing.assert_close((velocity - (actions - noise)).square(), losses, **EXACT)


def make_smolvla(monkeypatch):
    from lerobot.policies.smolvla import configuration_smolvla, modeling_smolvla
    from lerobot.policies.smolvla import smolvlm_with_expert as module
    from transformers import SmolVLMConfig

    text = {
        "model_type": "llama", "hidden_size": 32, "intermediate_size": 64, "vocab_size": 99,
        "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
        "head_dim": 8, "pad_token_id": 0, "rms_norm_eps": 1e-5,
    }  # fmt: skip
    eyes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 16}  # fmt: skip
    config = SmolVLMConfig(text_config=text, vision_config=eyes, pad_token_id=0)
    serve_from_memory(monkeypatch, module, config)
    options = configuration_smolvla.SmolVLAConfig(
        max_action_dim=LANES, max_state_dim=STATE, chunk_size=HORIZON, n_action_steps=HORIZON,
        num_vlm_layers=4, device="cpu",
    )  # fmt: skip
    model = scatter(modeling_smolvla.VLAFlowMatching(options), 0)
    embedded, mask = numbers(SIZE, WORDS, 32, seed=1), real_words()
    blocks = torch.zeros(SIZE, WORDS, dtype=torch.bool)
    blocks[:, -1] = True  # the state's token
    model.embed_prefix = lambda *_, **__: (embedded, mask, blocks)
    return model


def read_smolvla(model):
    from lerobot.policies.common.vla_utils import make_att_2d_masks

    embedded, mask, blocks = model.embed_prefix()
    positions = mask.cumsum(dim=1) - 1
    _, cache = model.vlm_with_expert.forward(
        attention_mask=make_att_2d_masks(mask, blocks),
        position_ids=positions,
        inputs_embeds=[embedded, None],
        use_cache=True,
    )
    layers = tuple((layer.keys, layer.values) for layer in cache.layers)
    return Prefix(layers=layers, mask=mask, positions=positions)


@torch.no_grad()
def test_smolvla_expert_equals_lerobot(monkeypatch):
    model = make_smolvla(monkeypatch)
    prefix, noise = read_smolvla(model), numbers(SIZE, HORIZON, LANES, seed=2)
    config = ExpertConfig(family="llama", joint_every=2, causal=True, state="none")
    sizes = geometry(layers=4, heads=4, key_value_heads=2)
    head = build(config, sizes)
    weights = {f"model.{name}": weight for name, weight in model.state_dict().items()}
    head.load_state_dict(smolvla.translate_expert(weights, layers=4), strict=True)
    context = make_context(prefix)

    from transformers import DynamicCache

    compare(
        head,
        context,
        lambda x, time: model.denoise_step(prefix.mask, DynamicCache(prefix.layers), x, time),
        noise,
    )
    state = numbers(SIZE, STATE, seed=3)
    chunk = model.sample_actions(None, None, None, None, state, noise=noise)
    torch.testing.assert_close(head.sample(context, None, noise), chunk, **EXACT)
