from dataclasses import replace

import pytest
import torch

from policies.backbones.config import TinyConfig
from policies.backbones.tiny import expected_points
from tests.policies.samples import EMBODIMENT, TINY, batch
from vla.embodiment import Camera
from vla.errors import ConfigError, UnknownChoice


def build(config=TINY, *, cameras=None, history=1):
    torch.manual_seed(0)
    body = EMBODIMENT if cameras is None else replace(EMBODIMENT, cameras=cameras)
    return config.build(body, history=history)


def encode(backbone, cameras, *, texts=("go", "stop"), history=1):
    generator = torch.Generator().manual_seed(0)
    images = {
        name: torch.randint(
            0, 256, (2, history, c.height, c.width, 3), dtype=torch.uint8, generator=generator
        )
        for name, c in cameras.items()
    }
    return backbone.encode(images, list(texts), torch.zeros(2, history, 3))


@pytest.mark.parametrize(
    "sizes", [{"top": (64, 64)}, {"a": (96, 128), "b": (48, 64), "c": (30, 30)}, {"x": (224, 224)}]
)
def test_any_cameras_will_do(sizes):
    cameras = {name: Camera(height=h, width=w) for name, (h, w) in sizes.items()}
    context = encode(build(cameras=cameras), cameras)
    # keypoints per camera, points per label, state, words, summary
    assert context.tokens.shape == (2, len(sizes) + 2 + 3, 32)
    assert context.labels["goal"].shape == (2, 2)


def test_history_adds_tokens():
    cameras = EMBODIMENT.cameras
    context = encode(build(history=3), cameras, history=3)
    assert context.tokens.shape == (2, 3 * (2 + 2 + 1) + 2, 32)


def test_grid_is_about_what_was_asked_for():
    for size, stride in ((64, 2), (96, 3), (128, 4), (224, 7), (32, 1)):
        backbone = build(TinyConfig(grid=32), cameras={"front": Camera(height=size, width=size)})
        eye = backbone.eyes["front"]
        image = torch.zeros(1, size, size, 3, dtype=torch.uint8)
        assert eye.look(image, torch.zeros(1, backbone.text.dim)).shape[-2:] == (32, 32)
        assert eye.stem.stride == (stride, stride)


def test_points_lie_at_the_centres_of_cells():
    maps = torch.full((1, 2, 4, 8), -100.0)
    maps[0, 0, 0, 0] = maps[0, 1, 3, 7] = 100.0
    points = expected_points(maps)
    torch.testing.assert_close(points[0], torch.tensor([[-0.875, -0.75], [0.875, 0.75]]))
    middle = expected_points(torch.zeros(1, 1, 5, 6))
    torch.testing.assert_close(middle, torch.zeros(1, 1, 2))


def test_words_reach_vision_from_the_start():
    """FiLM starts near the identity, but not at it: the features already differ by text."""
    backbone = build()
    image = torch.randint(0, 256, (1, 16, 16, 3), dtype=torch.uint8).expand(2, -1, -1, -1)
    features = backbone.eyes["front"].look(
        image, backbone.text(*backbone.read(["red cube", "blue plate"]))
    )
    difference = (features[0] - features[1]).norm() / features[0].norm()
    assert 1e-3 < difference < 0.3


def test_order_of_words_matters_and_padding_does_not():
    reader = build().text
    one, two = reader(["red on blue", "blue on red"])
    assert not torch.allclose(one, two)
    alone, _ = reader(["red on blue", "a much longer instruction than the first one"])
    torch.testing.assert_close(one, alone)


def test_labels_come_from_the_grounding_camera_only():
    backbone, source = build(), batch(2)
    plain = backbone.encode(source.images, source.instruction, source.state)
    turned = {"wrist": 255 - source.images["wrist"], "front": source.images["front"]}
    other = backbone.encode(turned, source.instruction, source.state)
    assert torch.equal(plain.labels["target"], other.labels["target"])
    assert not torch.allclose(plain.pooled, other.pooled)
    wrist = build(replace(TINY, grounding_camera="wrist"))
    assert wrist.front == "wrist"


def test_bad_cameras_are_refused():
    with pytest.raises(ConfigError, match="no camera"):
        build(cameras={})
    with pytest.raises(UnknownChoice, match="front"):
        build(replace(TINY, grounding_camera="frnt"))


def test_no_labels_is_a_choice():
    cameras = EMBODIMENT.cameras
    context = encode(build(replace(TINY, labels=[])), cameras)
    assert context.labels == {}
    assert context.tokens.isfinite().all()
