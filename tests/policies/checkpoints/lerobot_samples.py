"""Tiny pi0, pi0.5 and SmolVLA in LeRobot's own classes, saved as LeRobot saves them."""

from types import SimpleNamespace

import torch
from torch import nn

from policies.backbones import paligemma, smolvlm
from policies.backbones.word_pieces import SIZE, make_tokenizer
from vla.embodiment import Axis, Camera, Embodiment

HORIZON, LANES, STATE, AXES = 5, 6, 3, 4
SIDES = {"pi0": 28, "pi05": 28, "smolvla": 40}


def make_body(kind, *, axes=AXES):
    side = SIDES[kind]
    return Embodiment(
        name="sample",
        state=tuple(Axis(name=f"joint{i}", unit="rad", low=-99, high=99) for i in range(STATE)),
        action=tuple(Axis(name=f"goal{i}", unit="rad", low=-99, high=99) for i in range(axes)),
        # the second picture is not square: it must be padded as there
        cameras={
            "wrist": Camera(height=side, width=side),
            "front": Camera(height=side + 12, width=side + 24),
        },
        hz=10.0,
    )


def scatter(model, seed=0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            scale = 0.3 if "norm" in name or weight.ndim < 2 else weight.shape[-1] ** -0.5
            weight.copy_(torch.randn(weight.shape, generator=generator) * scale)
    return model.eval()


def make_statistics():
    generator = torch.Generator().manual_seed(7)
    told = {}
    for key, size in (("observation.state", STATE), ("action", AXES)):
        mean, std = torch.randn(size, generator=generator), torch.rand(size, generator=generator)
        std = std + 0.5
        told[key] = {
            "mean": mean, "std": std, "min": mean - 3 * std, "max": mean + 3 * std,
            "q01": mean - 2 * std, "q99": mean + 2.5 * std,
        }  # fmt: skip
    return told


def save_tokenizer(path):
    make_tokenizer().save_pretrained(path)
    return path


def give_tokenizer(monkeypatch, folder, *, begins):
    """LeRobot fetches its tokenizers from the hub; Gemma's begins each text by itself."""
    from lerobot.processor import tokenizer_processor
    from tokenizers.processors import TemplateProcessing
    from transformers import AutoTokenizer

    def load(name, **_):
        tokenizer = AutoTokenizer.from_pretrained(folder)
        if begins:
            tokenizer._tokenizer.post_processor = TemplateProcessing(
                single="<s> $A", special_tokens=[("<s>", 1)]
            )
        return tokenizer

    monkeypatch.setattr(tokenizer_processor, "AutoTokenizer", SimpleNamespace(from_pretrained=load))


def describe_features(body):
    from lerobot.configs import FeatureType, PolicyFeature

    inputs = {"observation.state": PolicyFeature(type=FeatureType.STATE, shape=(len(body.state),))}
    for name, camera in body.cameras.items():
        inputs[f"observation.images.{name}"] = PolicyFeature(
            type=FeatureType.VISUAL, shape=(3, camera.height, camera.width)
        )
    outputs = {"action": PolicyFeature(type=FeatureType.ACTION, shape=(len(body.action),))}
    return {"input_features": inputs, "output_features": outputs}


def shrink_pi(monkeypatch):
    """Our side of `make_pi`; needs no LeRobot."""
    vision = {
        "hidden_size": 16, "intermediate_size": 4304, "num_hidden_layers": 1,
        "num_attention_heads": 2, "image_size": 28, "patch_size": 14, "vision_use_head": False,
    }  # fmt: skip
    text = {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 8, "num_key_value_heads": 1, "head_dim": 8, "vocab_size": 257152,
    }  # fmt: skip
    monkeypatch.setitem(paligemma.SIZES, "pi", {"vision_config": vision, "text_config": text})
    return vision


def shrink_their_pi(monkeypatch, module):
    """Both sides of `make_pi`; `module` is LeRobot's of the model."""
    from transformers import PaliGemmaConfig

    vision = shrink_pi(monkeypatch)
    mapping = dict(module.CONFIG_MAPPING.items())
    mapping["paligemma"] = lambda: PaliGemmaConfig(vision_config=dict(vision))
    monkeypatch.setattr(module, "CONFIG_MAPPING", mapping)
    sizes = {"gemma_2b": (32, 64), "gemma_300m": (16, 48)}
    monkeypatch.setattr(
        module,
        "get_gemma_config",
        lambda variant: module.GemmaConfig(sizes[variant][0], 2, sizes[variant][1], 8, 1, 8),
    )


def make_pi(monkeypatch, kind, body):
    from lerobot.policies.pi0 import configuration_pi0, modeling_pi0, processor_pi0
    from lerobot.policies.pi05 import configuration_pi05, modeling_pi05, processor_pi05

    module, configuration, processor = {
        "pi0": (modeling_pi0, configuration_pi0.PI0Config, processor_pi0),
        "pi05": (modeling_pi05, configuration_pi05.PI05Config, processor_pi05),
    }[kind]
    shrink_their_pi(monkeypatch, module)
    config = configuration(
        max_action_dim=LANES, max_state_dim=32, chunk_size=HORIZON, n_action_steps=HORIZON,
        image_resolution=(28, 28), device="cpu", **describe_features(body),
    )  # fmt: skip
    policy = getattr(module, "PI0Policy" if kind == "pi0" else "PI05Policy")(config)
    # LeRobot has this width of the real model written into it.
    eyes = policy.model.paligemma_with_expert.paligemma.model.multi_modal_projector
    eyes.linear = nn.Linear(16, 32)
    return policy, getattr(processor, f"make_{kind}_pre_post_processors")


def shrink_smolvla(monkeypatch):
    text = {
        "hidden_size": 32, "intermediate_size": 64, "vocab_size": SIZE, "num_hidden_layers": 4,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
    }  # fmt: skip
    vision = {
        "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 16, "image_size": 40, "patch_size": 10,
    }  # fmt: skip
    sizes = {"scale_factor": 2, "vision_config": vision, "text_config": text}
    monkeypatch.setitem(smolvlm.SIZES, "smolvla", sizes)
    return sizes


def serve_from_memory(monkeypatch, module, config):
    """Let LeRobot's SmolVLM find `config` and a tokenizer without the hub."""
    tokenizer = SimpleNamespace(fake_image_token_id=1, global_image_token_id=2)
    monkeypatch.setattr(module, "AutoConfig", SimpleNamespace(from_pretrained=lambda name: config))
    monkeypatch.setattr(
        module,
        "AutoProcessor",
        SimpleNamespace(from_pretrained=lambda name: SimpleNamespace(tokenizer=tokenizer)),
    )


def make_smolvla(monkeypatch, body):
    from lerobot.policies.smolvla import configuration_smolvla, modeling_smolvla, processor_smolvla
    from lerobot.policies.smolvla import smolvlm_with_expert as module
    from transformers import SmolVLMConfig

    sizes = shrink_smolvla(monkeypatch)
    config = SmolVLMConfig(
        scale_factor=2,
        vision_config=dict(sizes["vision_config"]),
        # the model's own base, which LeRobot does not heed
        text_config={"model_type": "llama", **sizes["text_config"], "rope_theta": 1e5,
                     "pad_token_id": 0},
        pad_token_id=0,
    )  # fmt: skip
    serve_from_memory(monkeypatch, module, config)
    options = configuration_smolvla.SmolVLAConfig(
        max_action_dim=LANES, max_state_dim=32, chunk_size=HORIZON, n_action_steps=HORIZON,
        num_vlm_layers=4, resize_imgs_with_padding=(40, 40), device="cpu",
        **describe_features(body),
    )  # fmt: skip
    policy = modeling_smolvla.SmolVLAPolicy(options)
    return policy, processor_smolvla.make_smolvla_pre_post_processors


def save_public(monkeypatch, kind, body, path):
    """LeRobot's policy and processors, and their folder; tokenizer in `path/words`."""
    give_tokenizer(monkeypatch, save_tokenizer(path / "words"), begins=kind != "smolvla")
    if kind == "smolvla":
        policy, make = make_smolvla(monkeypatch, body)
    else:
        policy, make = make_pi(monkeypatch, kind, body)
    scatter(policy)
    before, after = make(policy.config, make_statistics())
    folder = path / "public"
    for part in (policy, before, after):
        part.save_pretrained(folder)
    return policy, before, after, folder
