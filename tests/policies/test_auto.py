"""AutoBackbone on tiny random checkpoints, written here in the public format."""

import json
from functools import partial

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from policies.backbones.config import AutoBackboneConfig
from vla.embodiment import Axis, Camera, Embodiment
from vla.errors import CheckpointError, ConfigError, EmbodimentMismatch, ShapeError

WORDS = ["pick", "up", "the", "red", "cube", "and", "put", "it", "into", "bowl", "User", ":"]
TEXT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "vocab_size": 64,
}
VISION = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}
CHAT = (
    "{% for message in messages %}User : {% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}IMAGE{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endfor %}{% if add_generation_prompt %} Robot :{% endif %}"
)


def make_tokenizer(*special):
    from transformers import PreTrainedTokenizerFast

    words = ["<pad>", "<s>", "</s>", "<unk>", *special, *WORDS]
    words_only = Tokenizer(
        models.WordLevel({word: k for k, word in enumerate(words)}, unk_token="<unk>")
    )
    words_only.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=words_only,
        unk_token="<unk>",
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        padding_side="left",
        additional_special_tokens=list(special),
    )


def save_llava(path):
    """CLIP + Llama, no chat template."""
    import transformers as tf

    tokenizer = make_tokenizer("<image>")
    config = tf.LlavaConfig(
        vision_config=tf.CLIPVisionConfig(**VISION),
        text_config=tf.LlamaConfig(**TEXT),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    images = tf.CLIPImageProcessor(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    )
    processor = tf.LlavaProcessor(
        images,
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )
    tf.LlavaForConditionalGeneration(config).save_pretrained(path)
    processor.save_pretrained(path)


def save_pixel_shuffler(path, family):
    """SigLIP-like + Llama, pixel shuffle and a chat template: `family` Idefics3 or SmolVLM."""
    import transformers as tf

    tokenizer = make_tokenizer(
        "<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>"
    )
    config = getattr(tf, f"{family}Config")(
        vision_config=VISION,
        text_config=tf.LlamaConfig(**TEXT),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=0,
    )
    size = {"size": {"longest_edge": 32}, "max_image_size": {"longest_edge": 32}}
    parts = [getattr(tf, f"{family}ImageProcessor")(do_image_splitting=False, **size), tokenizer]
    if family == "SmolVLM":
        parts.append(tf.SmolVLMVideoProcessor(**size))
    processor = getattr(tf, f"{family}Processor")(
        *parts, image_seq_len=4, chat_template=CHAT.replace("IMAGE", "<image>")
    )
    getattr(tf, f"{family}ForConditionalGeneration")(config).save_pretrained(path)
    processor.save_pretrained(path)


def save_paligemma(path):
    """SigLIP + Gemma with attention in both directions over the prompt."""
    import transformers as tf

    tokenizer = make_tokenizer("<image>")
    config = tf.PaliGemmaConfig(
        vision_config=tf.SiglipVisionConfig(**VISION, projection_dim=32),
        text_config=tf.GemmaConfig(**TEXT),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        projection_dim=32,
    )
    images = tf.SiglipImageProcessor(size={"height": 32, "width": 32})
    images.image_seq_length = 16
    tf.PaliGemmaForConditionalGeneration(config).save_pretrained(path)
    tf.PaliGemmaProcessor(images, tokenizer).save_pretrained(path)


def save_qwen2_vl(path):
    """Its own vision transformer + Qwen2 with 3-D rotary positions."""
    import transformers as tf

    tokenizer = make_tokenizer(
        "<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"
    )
    number = tokenizer.convert_tokens_to_ids
    rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e4}
    config = tf.Qwen2VLConfig(
        text_config={**TEXT, "rope_parameters": rope},
        vision_config={
            "depth": 2,
            "embed_dim": 32,
            "hidden_size": 32,
            "num_heads": 2,
            "patch_size": 8,
            "mlp_ratio": 2,
        },
        image_token_id=number("<|image_pad|>"),
        video_token_id=number("<|video_pad|>"),
        vision_start_token_id=number("<|vision_start|>"),
        vision_end_token_id=number("<|vision_end|>"),
    )
    size = {"shortest_edge": 1024, "longest_edge": 1024}
    chat = CHAT.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>")
    processor = tf.Qwen2VLProcessor(
        tf.Qwen2VLImageProcessor(patch_size=8, size=size),
        tokenizer,
        tf.Qwen2VLVideoProcessor(patch_size=8),
        chat_template=chat,
    )
    tf.Qwen2VLForConditionalGeneration(config).save_pretrained(path)
    processor.save_pretrained(path)


SAVERS = {
    "llava": save_llava,
    "idefics3": partial(save_pixel_shuffler, family="Idefics3"),
    "smolvlm": partial(save_pixel_shuffler, family="SmolVLM"),
    "paligemma": save_paligemma,
    "qwen2_vl": save_qwen2_vl,
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("vlm")
    for name, save in SAVERS.items():
        save(root / name)
    return root


@pytest.fixture
def copy(folders, tmp_path):
    """The LLaVA checkpoint, to be damaged."""
    for file in (folders / "llava").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


EMBODIMENT = Embodiment(
    name="arm",
    state=tuple(Axis(name=f"q{k}", unit="rad", low=-1.0, high=1.0) for k in range(3)),
    action=(Axis(name="dx", unit="m", low=-1.0, high=1.0),),
    cameras={"wrist": Camera(height=48, width=48), "front": Camera(height=48, width=48)},
    hz=10.0,
)


def build(folder, **options):
    torch.manual_seed(1)
    return AutoBackboneConfig(name=str(folder), **options).build(EMBODIMENT, history=2).eval()


def make_batch(seed=0):
    """Three samples whose prompts differ in length, so that two of them are padded."""
    generator = torch.Generator().manual_seed(seed)
    shape = (3, 2, 48, 48, 3)
    images = {
        name: torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
        for name in ("front", "wrist")
    }
    texts = ["pick up the red cube and put it into the bowl", "pick up the cube", "put it"]
    return images, texts, torch.randn(3, 2, 3, generator=generator)


@pytest.mark.parametrize("pool", ["mean", "last"])
@pytest.mark.parametrize("kind", SAVERS)
def test_encode_gives_each_sample_as_if_alone(folders, kind, pool):
    backbone = build(folders / kind, labels=["target"], pool=pool)
    images, texts, state = make_batch()
    with torch.no_grad():
        together = backbone.encode(images, texts, state)
        assert backbone.dim == 32
        assert together.tokens.shape == (3, together.mask.shape[1], 32)
        assert together.mask.sum(1).unique().numel() > 1  # some samples really are padded
        for k in range(3):
            part = {name: image[k : k + 1] for name, image in images.items()}
            alone = backbone.encode(part, texts[k : k + 1], state[k : k + 1])
            kept = together.tokens[k][together.mask[k]]
            torch.testing.assert_close(kept, alone.tokens[0], atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(together.pooled[k], alone.pooled[0], atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(
                together.labels["target"][k], alone.labels["target"][0], atol=1e-5, rtol=1e-4
            )


@pytest.mark.parametrize("kind", SAVERS)
def test_each_input_matters(folders, kind):
    backbone = build(folders / kind)
    images, texts, state = make_batch()
    with torch.no_grad():
        before = backbone.encode(images, texts, state).pooled
        for name in images:
            for step in range(2):
                changed = {key: value.clone() for key, value in images.items()}
                changed[name][:, step] = 255 - changed[name][:, step]
                assert not torch.allclose(
                    before, backbone.encode(changed, texts, state).pooled, atol=1e-6
                ), (name, step)
        other = [text.replace("pick", "put").replace("it", "cube") for text in texts]
        assert not torch.allclose(before, backbone.encode(images, other, state).pooled, atol=1e-6)
        assert not torch.allclose(before, backbone.encode(images, texts, -state).pooled, atol=1e-6)


def test_hidden_states_are_those_of_the_plain_class_on_the_saved_weights(folders):
    import transformers as tf

    path = folders / "llava"
    plain = tf.LlavaForConditionalGeneration.from_pretrained(path).eval()
    images, texts, state = make_batch()
    images = {name: image[:1] for name, image in images.items()}
    pictures = [*images["front"][0].numpy(), *images["wrist"][0].numpy()]
    inputs = tf.LlavaProcessor.from_pretrained(path)(
        text="<image>" * 4 + texts[0], images=pictures, return_tensors="pt"
    )
    with torch.no_grad():
        want = plain(**inputs, output_hidden_states=True).hidden_states[-1]
        mean = build(path).encode(images, texts[:1], state[:1])
        last = build(path, pool="last").encode(images, texts[:1], state[:1])
    torch.testing.assert_close(mean.tokens[:, :-1], want)
    state_token = mean.tokens[:, -1]
    torch.testing.assert_close(mean.pooled, want.mean(1) + state_token)
    torch.testing.assert_close(last.pooled, want[:, -1] + state_token)
    saved = load_file(path / "model.safetensors")
    name = "model.layers.0.self_attn.q_proj.weight"
    (key,) = [key for key in saved if key.endswith(name)]
    loaded = build(path).model.get_decoder().layers[0].self_attn.q_proj.weight
    assert torch.equal(saved[key], loaded)


def gradients(backbone):
    backbone.train()
    context = backbone.encode(*make_batch())
    (context.tokens.square().sum() + context.pooled.sum()).backward()
    return {name for name, weight in backbone.named_parameters() if weight.grad is not None}


def test_frozen_model_trains_only_the_state_token(folders):
    plain = build(folders / "idefics3")
    names = {name for name, weight in plain.named_parameters() if weight.requires_grad}
    assert names == {"_state_token.weight", "_state_token.bias"}
    assert gradients(plain) == names
    assert not plain.train().model.training


def test_freeze_vision_leaves_the_language_model_trainable(folders):
    reached = gradients(build(folders / "llava", freeze="vision"))
    assert any("language_model" in name for name in reached)
    assert not any("vision_tower" in name for name in reached)
    reached = gradients(build(folders / "llava", freeze="none"))
    assert any("vision_tower" in name for name in reached)


def test_layers_and_half_precision(folders):
    short = build(folders / "llava", layers=1)
    assert len(short.model.get_decoder().layers) == 1
    half = build(folders / "llava", dtype="bfloat16")
    full = build(folders / "llava")
    with torch.no_grad():
        got, want = half.encode(*make_batch()), full.encode(*make_batch())
    assert half.model.dtype == torch.bfloat16
    assert got.tokens.dtype == got.pooled.dtype == torch.float32
    torch.testing.assert_close(got.tokens[:, :-1], want.tokens[:, :-1], atol=0.1, rtol=0.1)
    with pytest.raises(ConfigError, match="has 2"):
        build(folders / "llava", layers=3)


def test_missing_and_foreign_tensors_are_refused(copy):
    weights = load_file(copy / "model.safetensors")
    name = sorted(weights)[0]
    rest = {key: value for key, value in weights.items() if key != name}
    save_file(rest, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="1 missing keys"):
        build(copy)
    alien = {**weights, "model.alien": torch.zeros(1)}
    save_file(alien, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"unexpected keys: .*alien"):
        build(copy)
    wrong = {**weights, name: torch.zeros(3)}
    save_file(wrong, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="Cannot load"):
        build(copy)


def test_missing_or_garbled_files_are_refused(copy):
    weights = copy / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="fetch it again"):
        build(copy)
    weights.unlink()
    torch.save({}, copy / "pytorch_model.bin")  # pickles are never read
    with pytest.raises(CheckpointError, match="safetensors"):
        build(copy)
    weights.write_bytes(whole)
    (copy / "processor_config.json").unlink()
    with pytest.raises(CheckpointError, match="processor"):
        build(copy)
    config = copy / "config.json"
    config.write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(CheckpointError, match="image-text model"):
        build(copy)
    config.write_text("{")
    with pytest.raises(CheckpointError, match="Cannot load"):
        build(copy)


def test_missing_folder_and_offline_hub_name_are_refused(tmp_path, monkeypatch):
    with pytest.raises(CheckpointError, match="no such folder"):
        build(tmp_path / "absent")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match="hf download nobody/nothing"):
        build("nobody/nothing")
    with pytest.raises(ConfigError, match="name is empty"):
        build("")


def test_out_of_contract_observations_are_refused(folders):
    backbone = build(folders / "llava")
    images, texts, state = make_batch()
    with pytest.raises(EmbodimentMismatch, match="wrist"):
        backbone.encode({"front": images["front"]}, texts, state)
    with pytest.raises(ShapeError, match="<image>"):
        backbone.encode(images, ["pick up the <image>", *texts[1:]], state)
