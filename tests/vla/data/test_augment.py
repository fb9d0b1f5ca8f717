import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vla.data.augment import augment
from vla.data.augment_geometry import (
    move_points,
    push,
    shift_images,
    turn,
    warp_images,
    zoom,
)
from vla.data.augment_pixels import (
    adjust_colours,
    compress_images,
    erase_rectangles,
    turn_colours,
)
from vla.data.batch import Batch
from vla.data.config import AugmentConfig
from vla.errors import ConfigError, DataError


def _batch(size: int = 6, labels: dict | None = None) -> Batch:
    generator = torch.Generator().manual_seed(5)
    images = {
        name: torch.randint(0, 256, (size, 2, 12, 16, 3), generator=generator, dtype=torch.uint8)
        for name in ("front", "wrist")
    }
    return Batch(
        images=images,
        state=torch.zeros(size, 2, 3),
        instruction=[""] * size,
        actions=torch.zeros(size, 4, 2),
        mask=torch.ones(size, 4, 2),
        labels=labels if labels is not None else {"target": torch.zeros(size, 2)},
    )


def _run(batch: Batch, seed: int, **options) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    return augment(batch, generator=generator, config=AugmentConfig(**options))


def test_shift_moves_the_content_and_repeats_the_edge():
    images = _batch().images["front"]
    shift = torch.tensor([[0, 0], [3, 0], [0, -2], [-3, 3], [3, 3], [1, -1]])
    moved = shift_images(images, shift, 3)
    for sample, (right, down) in enumerate(shift.tolist()):
        for row in range(12):
            for column in range(16):
                source = min(max(row - down, 0), 11), min(max(column - right, 0), 15)
                wanted = images[sample, :, source[0], source[1]]
                assert torch.equal(moved[sample, :, row, column], wanted)


def test_a_marked_pixel_and_its_label_move_together():
    batch = _batch(64)
    for image in batch.images.values():
        image.zero_()
    batch.images["front"][:, :, 5, 9] = 255
    centre = torch.tensor([2 * 9.5 / 16 - 1, 2 * 5.5 / 12 - 1])
    batch.labels["target"][:] = centre
    batch.labels["goal"] = batch.labels["target"].clone()
    batch.labels["other"] = batch.labels["target"].clone()
    out = _run(batch, 0, shift=3, brightness=0, contrast=0)
    found = out.images["front"][:, 0, :, :, 0].reshape(64, -1).int().argmax(1)
    row, column = found // 16, found % 16
    wanted = torch.stack([2 * (column + 0.5) / 16 - 1, 2 * (row + 0.5) / 12 - 1], dim=1)
    torch.testing.assert_close(out.labels["target"], wanted)
    torch.testing.assert_close(out.labels["goal"], wanted)
    assert torch.equal(out.labels["other"], batch.labels["other"])
    assert len(wanted.unique(dim=0)) > 20
    assert torch.equal(out.images["front"][:, 0], out.images["front"][:, 1])  # history moves along


def test_equal_generators_give_equal_batches():
    batch = _batch()
    one, same, other = _run(batch, 1), _run(batch, 1), _run(batch, 2)
    for name in batch.images:
        assert torch.equal(one.images[name], same.images[name])
        assert not torch.equal(one.images[name], other.images[name])
        assert one.images[name].dtype == torch.uint8


def test_cameras_are_shifted_on_their_own():
    batch = _batch(32)
    batch.images["wrist"][:] = batch.images["front"]
    out = _run(batch, 0, brightness=0, contrast=0)
    assert not torch.equal(out.images["front"], out.images["wrist"])


def test_nothing_asked_nothing_changed():
    batch = _batch()
    before = {name: image.clone() for name, image in batch.images.items()}
    out = _run(batch, 0, shift=0, brightness=0, contrast=0)
    for name in before:
        assert torch.equal(out.images[name], before[name])
    _run(batch, 0)
    for name in before:
        assert torch.equal(batch.images[name], before[name])  # the input is left alone


def test_colours():
    image = torch.tensor([0, 50, 100, 250], dtype=torch.uint8).reshape(1, 1, 2, 2, 1)
    image = image.expand(1, 1, 2, 2, 3).contiguous()

    def values(brightness: float, contrast: float) -> list[int]:
        one = adjust_colours(image, torch.tensor([brightness]), torch.tensor([contrast]))
        return one[..., 0].flatten().tolist()

    assert values(1, 1) == [0, 50, 100, 250]
    assert values(1.2, 1) == [0, 60, 120, 255]
    assert values(1, 0.5) == [50, 75, 100, 175]  # about the mean, 100


def test_labels_that_are_no_points():
    with pytest.raises(DataError, match=r"'target'.*3 columns"):
        _run(_batch(labels={"target": torch.zeros(6, 3)}), 0)


def test_several_points_in_one_label():
    moved = move_points("p", torch.zeros(1, 4), push(torch.tensor([[2, -3]]), 12, 16))
    torch.testing.assert_close(moved, torch.tensor([[0.25, -0.5, 0.25, -0.5]]))


@pytest.mark.parametrize(
    "option",
    [
        {"shift": -1},
        {"brightness": 1.0},
        {"contrast": -0.1},
        {"saturation": 1},
        {"hue": 0.6},
        {"crop": 0},
        {"crop": 1.1},
        {"rotate": -1},
        {"jpeg": 100},
        {"erase": 2},
    ],
)
def test_config_is_checked(option):
    with pytest.raises(ConfigError, match=next(iter(option))):
        AugmentConfig(**option)


EVERYTHING = {
    "jpeg": 60, "crop": 0.6, "rotate": 20, "shift": 2, "saturation": 0.4, "hue": 0.1, "erase": 0.5,
}  # fmt: skip
NOTHING = {"shift": 0, "brightness": 0, "contrast": 0}


@pytest.mark.parametrize("options", [{key: value} for key, value in EVERYTHING.items()])
def test_every_part_varies_windows_alike_over_history(options):
    batch = _batch(16)
    smooth = torch.arange(12)[:, None] * 8 + torch.arange(16) * 4
    for image in batch.images.values():
        image[:] = torch.stack([smooth, smooth.flip(0), 255 - smooth], dim=-1).to(torch.uint8)
    one, same = (_run(batch, 3, **{**NOTHING, **options}) for _ in range(2))
    for name, image in one.images.items():
        assert image.shape == batch.images[name].shape
        assert image.dtype == torch.uint8
        assert torch.equal(image, same.images[name])
        assert torch.equal(image[:, 0], image[:, 1])
        changed = (image != batch.images[name]).flatten(1).any(1)
        assert changed.sum() >= 4
        assert len(image.flatten(1).unique(dim=0)) > changed.sum() / 2
    assert not torch.equal(one.images["front"], one.images["wrist"])


def test_the_old_defaults_draw_as_before():
    """Runs are repeated from their seeds: parts that are off must take no random numbers."""
    batch = _batch()
    generator = torch.Generator().manual_seed(4)
    wanted = {}
    for name in ("front", "wrist"):
        shift = torch.randint(-4, 5, (6, 2), generator=generator)
        brightness, contrast = 1 + (torch.rand((2, 6), generator=generator) * 2 - 1) * 0.2
        wanted[name] = adjust_colours(
            shift_images(batch.images[name], shift, 4), brightness, contrast
        )
    out = _run(batch, 4)
    assert all(torch.equal(out.images[name], wanted[name]) for name in wanted)


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6))
def test_identity_at_zero_strength(seed):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (3, 2, 9, 14, 3), generator=generator, dtype=torch.uint8)
    one, zero = torch.ones(3), torch.zeros(3)
    assert torch.equal(warp_images(images, torch.eye(3).repeat(3, 1, 1)), images)
    assert torch.equal(warp_images(images, turn(zero, 9, 14)), images)
    whole = zoom(torch.rand((3, 3), generator=generator), 1.0)
    assert torch.equal(warp_images(images, whole), images)
    assert torch.equal(turn_colours(images, one, zero), images)
    assert torch.equal(adjust_colours(images, one, one), images)
    draws = torch.rand((8, 3), generator=generator)
    assert torch.equal(erase_rectangles(images, draws, 0), images)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    crop=st.floats(0.4, 1),
    rotate=st.floats(0, 60),
    shift=st.integers(0, 4),
    place=st.tuples(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5)),
)
def test_labels_follow_the_content(seed, crop, rotate, shift, place):
    """A bright blob's centre of mass is where the label says, unless it has left the picture."""
    height, width = 48, 64
    right = (torch.arange(width) + 0.5) * 2 / width - 1
    down = (torch.arange(height) + 0.5) * 2 / height - 1
    distance = ((right - place[0]) * 32).square() + ((down - place[1]) * 24).square()[:, None]
    blob = (255 * (-distance / 8).exp()).to(torch.uint8)
    batch = _batch(4)
    batch.images["front"] = blob[None, None, :, :, None].expand(4, 2, -1, -1, 3).contiguous()
    batch.labels["target"] = torch.tensor([place]).repeat(4, 1)
    out = _run(
        batch, seed, crop=crop, rotate=rotate, shift=shift, brightness=0, contrast=0,
    )  # fmt: skip
    weight = out.images["front"][:, 1, :, :, 0].float()
    total = weight.sum((1, 2))
    found = torch.stack([(weight.sum(1) @ right) / total, (weight.sum(2) @ down) / total], dim=1)
    label = out.labels["target"]
    inside = (label.abs() < 0.6).all(1)  # the blob may be cut off at an edge
    pixels = (found - label) * torch.tensor([width / 2, height / 2])
    assert (pixels[inside].abs() < 0.6).all()


def test_a_turn_keeps_angles_in_a_wide_picture():
    move = turn(torch.tensor([math.pi / 2]), 12, 24)
    moved = move_points("p", torch.tensor([[0.5, 0.0]]), move)  # 6 pixels right becomes 6 down
    torch.testing.assert_close(moved, torch.tensor([[0.0, 1.0]]))


@settings(max_examples=40)
@given(least=st.floats(0.05, 1), seed=st.integers(0, 10**6))
def test_a_crop_lies_inside_the_picture(least, seed):
    draws = torch.rand((3, 5), generator=torch.Generator().manual_seed(seed))
    back = torch.linalg.inv(zoom(draws, least))
    corners = torch.tensor([[-1.0, -1, 1, 1]]).repeat(5, 1)
    shown = move_points("p", corners, back)
    assert (shown.abs() <= 1 + 1e-4).all()
    area = (shown[:, 2:] - shown[:, :2]).prod(1) / 4
    assert (area >= least - 1e-4).all()


def test_turning_colours():
    red = torch.zeros(1, 1, 1, 2, 3, dtype=torch.uint8)
    red[..., 0, :] = torch.tensor([150, 90, 90], dtype=torch.uint8)
    red[..., 1, :] = 77  # grey
    grey = turn_colours(red, torch.tensor([0.0]), torch.tensor([0.0]))
    assert grey.flatten().tolist() == [108, 108, 108, 77, 77, 77]  # luma
    half = turn_colours(red, torch.tensor([1.0]), torch.tensor([0.5]))
    assert half.flatten().tolist() == [66, 126, 126, 77, 77, 77]  # cyan of the same luma


def test_jpeg_quality_is_felt():
    rows = torch.arange(32)[:, None] * 5 + torch.arange(32) * 2
    image = torch.stack([rows, 255 - rows, (rows * 7) % 256], dim=-1).to(torch.uint8)
    images = image.expand(2, 2, -1, -1, -1)
    out = compress_images(images, torch.tensor([95, 5]))
    error = (out.float() - images.float()).abs().flatten(1).mean(1)
    assert error[0] < error[1] / 2
    assert torch.equal(out[:, 0], out[:, 1])


@settings(max_examples=40)
@given(seed=st.integers(0, 10**6))
def test_erased_rectangles_are_bounded(seed):
    images = torch.zeros(8, 2, 40, 60, 3, dtype=torch.uint8)
    draws = torch.rand((8, 8), generator=torch.Generator().manual_seed(seed))
    draws[5:] = 0.5
    out = erase_rectangles(images, draws, 1)
    covered = (out[:, 0, :, :, 0] == 128).float()
    assert torch.equal(out == 128, (out > 0))
    assert (covered.mean((1, 2)) > 0.01).all()
    assert (covered.mean((1, 2)) < 0.25).all()
    box = covered.amax(1).sum(1) * covered.amax(2).sum(1)
    assert torch.equal(box, covered.sum((1, 2)))  # one rectangle
