import pytest
import torch

from vla.data.augment import adjust_colours, augment, move_points, shift_images
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
    shift = torch.tensor([[2, -3]])
    moved = move_points("p", torch.zeros(1, 4), shift, 12, 16)
    torch.testing.assert_close(moved, torch.tensor([[0.25, -0.5, 0.25, -0.5]]))


@pytest.mark.parametrize("option", [{"shift": -1}, {"brightness": 1.0}, {"contrast": -0.1}])
def test_config_is_checked(option):
    with pytest.raises(ConfigError, match=next(iter(option))):
        AugmentConfig(**option)
