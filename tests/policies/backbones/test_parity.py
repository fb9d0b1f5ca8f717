"""Our way through each model gives what the model's own class gives, from the same weights."""

import pytest
import torch
import transformers as tf

from policies.backbones.word_pieces import make_tokenizer
from tests.policies.backbones.language_samples import (
    TEXTS,
    build,
    make_images,
    save_paligemma,
    save_qwen3,
    save_qwen25,
    save_smolvlm,
)

NEAR = {"atol": 1e-5, "rtol": 1e-5}


def tokenize(text):
    return make_tokenizer()(text, add_special_tokens=False, return_tensors="pt").input_ids


def compare(backbone, images, text, want):
    """Hidden states and logits of the prefix against `want`, the whole model's outputs."""
    with torch.no_grad():
        context = backbone.encode(images, [text], torch.zeros(1, 1, 1))
    real = context.mask[0]
    torch.testing.assert_close(context.tokens[0][real], want.hidden_states[-1][0], **NEAR)
    logits = context.language.score(context.tokens)[0][real]
    torch.testing.assert_close(logits, want.logits[0], **NEAR)


@pytest.mark.parametrize("second", [False, True], ids=["gemma", "gemma2"])
def test_paligemma(tmp_path, second):
    whole = save_paligemma(tmp_path, second=second)
    backbone = build("paligemma", name=str(tmp_path), side=84, state="none")
    for seed, text in enumerate(TEXTS):
        images = make_images(84, 1, seed=seed)
        ids = tokenize("<image>" * 36 + "<s>" + text + "\n")
        pixels = images["front"][:, 0].movedim(-1, 1) / 127.5 - 1
        with torch.no_grad():
            want = whole(
                input_ids=ids,
                pixel_values=pixels,
                token_type_ids=torch.zeros_like(ids),
                output_hidden_states=True,
            )
        compare(backbone, images, text, want)


def test_smolvlm(tmp_path):
    whole = save_smolvlm(tmp_path)
    names = ("front", "wrist")
    backbone = build(
        "smolvlm", name=str(tmp_path), side=80, cameras=names, state="none", attention="causal"
    )
    assert backbone.output is not None, "this one has an output layer of its own"
    picture = "<fake_token_around_image><global-img>" + "<image>" * 16
    for seed, text in enumerate(TEXTS):
        images = make_images(80, 1, names, seed=seed)
        pixels = torch.cat([images[name] for name in names], dim=1).movedim(-1, 2) / 127.5 - 1
        with torch.no_grad():
            want = whole(
                input_ids=tokenize((picture + "<fake_token_around_image>") * 2 + text + "\n"),
                pixel_values=pixels,
                output_hidden_states=True,
            )
        compare(backbone, images, text, want)


@pytest.mark.parametrize(("save", "patch"), [(save_qwen3, 12), (save_qwen25, 7)])
def test_qwen_vl(tmp_path, save, patch):
    side, names = 8 * patch, ("front", "wrist")
    whole = save(tmp_path)
    backbone = build(
        "qwen_vl", name=str(tmp_path), side=side, image_size=side, cameras=names, state="none"
    )
    mean, std = (0.5,) * 3, (0.5,) * 3
    if save is save_qwen25:
        mean, std = tf.image_utils.OPENAI_CLIP_MEAN, tf.image_utils.OPENAI_CLIP_STD
    prepare = tf.Qwen2VLImageProcessor(
        patch_size=patch, merge_size=2, image_mean=mean, image_std=std, do_resize=False
    )
    picture = "<|vision_start|>" + "<image>" * 16 + "<|vision_end|>"
    for seed, text in enumerate(TEXTS):
        images = make_images(side, 1, names, seed=seed)
        pictures = [images[name][0, 0].movedim(-1, 0) for name in names]
        ids = tokenize(f"<|im_start|>user\n{picture * 2}{text}<|im_end|>\n<|im_start|>assistant\n")
        with torch.no_grad():
            want = whole(
                input_ids=ids,
                **prepare(pictures, return_tensors="pt"),
                mm_token_type_ids=(ids == whole.config.image_token_id).int(),
                output_hidden_states=True,
            )
        compare(backbone, images, text, want)


def test_prismatic_towers():
    """The tokens behind the last layer but one of whole towers, side by side."""
    from policies.backbones.prismatic import SIZES, FusedTower

    torch.manual_seed(0)
    numbers = SIZES["tiny"]
    dino = tf.Dinov2WithRegistersModel(tf.Dinov2WithRegistersConfig(**numbers["dino"]))
    siglip = tf.SiglipVisionModel(tf.SiglipVisionConfig(**numbers["siglip"]))
    pixels = torch.rand(3, 3, 70, 70)
    mean, std = (
        torch.tensor(row).view(3, 1, 1)
        for row in (tf.image_utils.IMAGENET_DEFAULT_MEAN, tf.image_utils.IMAGENET_DEFAULT_STD)
    )
    with torch.no_grad():
        one = dino.eval()((pixels - mean) / std, output_hidden_states=True).hidden_states[-2]
        two = siglip.eval()(pixels * 2 - 1, output_hidden_states=True).hidden_states[-2]
        tower = FusedTower(dino, siglip, 32, 0, film=False)
        (got,) = tower(pixels, torch.zeros(3, 32))
        want = tower.projector(torch.cat([one[:, 5:], two], dim=-1))
    torch.testing.assert_close(got, want, **NEAR)


def test_prismatic_decoder():
    """The whole sequence through Llama's own class: begin token, pictures, words."""
    backbone = build("prismatic", side=70, state="none")
    images, text = make_images(70, 1), "Pick up the cube."
    with torch.no_grad():
        context = backbone.encode(images, [text], torch.zeros(1, 1, 1))
        pixels = images["front"][:, 0].movedim(-1, 1) / 255
        (seen,) = backbone.tower(pixels, torch.zeros(1, 96))
        embed = backbone.decoder.embed_tokens
        words = tokenize("In: What action should the robot take to pick up the cube?\nOut: ")
        embedded = torch.cat([embed(torch.tensor([[1]])), seen, embed(words)], dim=1)
        want = backbone.decoder(inputs_embeds=embedded).last_hidden_state
    torch.testing.assert_close(context.tokens[0][context.mask[0]], want[0], **NEAR)
