"""Image augmentation as one function of (batch, generator).

Shift with replicated edges, as in DrQ (arXiv:2004.13649), by whole pixels, then
brightness and contrast. Values are drawn per window and camera and shared by the
window's history, so that motion between frames stays true.
"""

from dataclasses import replace

import torch
from torch import Tensor

from vla.data.batch import Batch
from vla.data.config import AugmentConfig
from vla.errors import DataError


def augment(batch: Batch, *, generator: torch.Generator, config: AugmentConfig) -> Batch:
    """A varied copy of `batch`; images stay uint8, labels named in `config.labels` move along.

    Args:
        batch: on any device.
        generator: a CPU generator; decides everything, so equal states give equal batches on
            every device.
        config: how far to vary.

    Raises:
        DataError: when a label that should move does not hold (x, y) pairs.
    """
    images, shifts = {}, {}
    for name in sorted(batch.images):  # a fixed order of draws
        image = batch.images[name]
        if config.shift:
            bounds = (-config.shift, config.shift + 1)
            shifts[name] = torch.randint(*bounds, (len(batch), 2), generator=generator)
            image = shift_images(image, shifts[name], config.shift)
        if config.brightness or config.contrast:
            draws = torch.rand((2, len(batch)), generator=generator) * 2 - 1
            brightness, contrast = 1 + draws * torch.tensor(
                [[config.brightness], [config.contrast]]
            )
            image = adjust_colours(image, brightness.to(image.device), contrast.to(image.device))
        images[name] = image
    labels = dict(batch.labels)
    for label, camera in config.labels.items():
        if label in labels and camera in shifts:
            height, width = batch.images[camera].shape[2:4]
            labels[label] = move_points(label, labels[label], shifts[camera], height, width)
    return replace(batch, images=images, labels=labels)


def shift_images(images: Tensor, shift: Tensor, limit: int) -> Tensor:
    """Move the content of `images` right and down; edge pixels fill what comes free.

    Args:
        images: (B, T, H, W, 3).
        shift: int64 (B, 2), pixels (right, down), each within [-limit, limit].
        limit: at least 1.
    """
    batch, steps, height, width, channels = images.shape
    padded = torch.empty(
        (batch, steps, height + 2 * limit, width + 2 * limit, channels),
        dtype=images.dtype,
        device=images.device,
    )
    inner = padded[:, :, limit : limit + height]
    inner[:, :, :, limit : limit + width] = images
    inner[:, :, :, :limit] = images[:, :, :, :1]
    inner[:, :, :, limit + width :] = images[:, :, :, -1:]
    padded[:, :, :limit] = inner[:, :, :1]
    padded[:, :, limit + height :] = inner[:, :, -1:]
    # Every crop of the padded picture as a view (B, down, right, T, H, W * 3): choosing one
    # per window then copies whole rows.
    window, frame, row, column, _ = padded.stride()
    crops = padded.as_strided(
        (batch, 2 * limit + 1, 2 * limit + 1, steps, height, width * channels),
        (window, row, column, frame, row, 1),
    )
    right, down = (limit - shift.to(images.device)).unbind(1)
    chosen = crops[torch.arange(batch, device=images.device), down, right]
    return chosen.reshape(images.shape)


def adjust_colours(images: Tensor, brightness: Tensor, contrast: Tensor) -> Tensor:
    """Scale contrast about each window's mean value, then brightness; clipped to [0, 255].

    Args:
        images: uint8 (B, T, H, W, 3).
        brightness: float32 (B,), 1 leaves the images as they are.
        contrast: likewise.
    """
    pixels = images.to(torch.float32).reshape(len(images), -1)
    mean = pixels.mean(dim=1)
    gain = brightness * contrast
    offset = brightness * (1 - contrast) * mean + 0.5  # rounds when cut to uint8
    pixels.mul_(gain[:, None]).add_(offset[:, None]).clamp_(0, 255)
    return pixels.to(torch.uint8).reshape(images.shape)


def move_points(name: str, points: Tensor, shift: Tensor, height: int, width: int) -> Tensor:
    """Add a pixel shift to (x, y) pairs in [-1, 1], x right, y down.

    -1 and 1 are the picture's outer edges, so one pixel is 2 / W or 2 / H. A point pushed
    out of the picture lies outside [-1, 1] and is left there.

    Args:
        name: of the label, for the message.
        points: float32 (B, K), K even: x, y, x, y, ...
        shift: int64 (B, 2), pixels (right, down).
        height: of the picture, pixels.
        width: likewise.
    """
    if points.shape[1] % 2:
        raise DataError(
            f"Label {name!r} has {points.shape[1]} columns, which are no (x, y) pairs. "
            "Take it out of augment.labels."
        )
    step = shift.to(points) * torch.tensor([2 / width, 2 / height]).to(points)
    return points + step.repeat(1, points.shape[1] // 2)
