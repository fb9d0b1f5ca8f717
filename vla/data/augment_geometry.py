"""Moving pictures, and points in them: crop, rotation, shift.

A move is a matrix (3, 3) on homogeneous image coordinates (x, y, 1): x right, y down, -1 and
1 at the picture's outer edges. One pixel is 2 / W or 2 / H.
"""

import math
from functools import reduce

import torch
from torch import Tensor
from torch.nn import functional

from vla.data.config import AugmentConfig
from vla.errors import DataError


def move_images(
    images: Tensor, *, generator: torch.Generator, config: AugmentConfig
) -> tuple[Tensor, Tensor | None]:
    """Crop, rotate and shift as drawn.

    A shift alone, as in DrQ (arXiv:2004.13649), is by whole pixels and exact. With a crop or a
    rotation everything is one bilinear resampling, so that nothing is blurred twice.

    Args:
        images: uint8 (B, T, H, W, 3).
        generator: on the CPU.
        config: its `crop`, `rotate` and `shift`.

    Returns:
        The images, and the moves float32 (B, 3, 3) on the CPU; None when nothing moves.
    """
    count, _, height, width, _ = images.shape
    moves = []
    if config.crop < 1:
        moves.append(zoom(torch.rand((3, count), generator=generator), config.crop))
    if config.rotate:
        draws = torch.rand(count, generator=generator) * 2 - 1
        moves.append(turn(draws * math.radians(config.rotate), height, width))
    if config.shift:
        bounds = (-config.shift, config.shift + 1)
        shift = torch.randint(*bounds, (count, 2), generator=generator)
        if not moves:
            return shift_images(images, shift, config.shift), push(shift, height, width)
        moves.append(push(shift, height, width))
    if not moves:
        return images, None
    move = reduce(lambda first, then: then @ first, moves)
    return warp_images(images, move), move


def zoom(draws: Tensor, least: float) -> Tensor:
    """Moves (B, 3, 3) that enlarge a part of the picture to all of it, keeping its proportions.

    Args:
        draws: float32 (3, B) in [0, 1): of the part's area, its place along x and along y.
        least: smallest area, as a fraction of the picture's.
    """
    side = (least + (1 - least) * draws[0]).sqrt()
    centre = (1 - side) * (draws[1:] * 2 - 1)
    move = torch.eye(3).repeat(len(side), 1, 1)
    move[:, 0, 0] = move[:, 1, 1] = 1 / side
    move[:, :2, 2] = (-centre / side).T
    return move


def turn(angle: Tensor, height: int, width: int) -> Tensor:
    """Moves (B, 3, 3) that rotate about the centre, clockwise to the eye.

    Args:
        angle: float32 (B,), radians.
        height: of the picture, pixels; one that is not square keeps its angles.
        width: likewise.
    """
    move = torch.eye(3).repeat(len(angle), 1, 1)
    move[:, 0, 0] = move[:, 1, 1] = angle.cos()
    move[:, 0, 1] = -angle.sin() * (height / width)
    move[:, 1, 0] = angle.sin() * (width / height)
    return move


def push(shift: Tensor, height: int, width: int) -> Tensor:
    """Moves (B, 3, 3) for shifts int64 (B, 2) in pixels, right and down."""
    move = torch.eye(3).repeat(len(shift), 1, 1)
    move[:, :2, 2] = shift * torch.tensor([2 / width, 2 / height])
    return move


def warp_images(images: Tensor, move: Tensor) -> Tensor:
    """Move pictures by bilinear resampling; edge pixels fill what comes free.

    Args:
        images: uint8 (B, T, H, W, 3).
        move: float32 (B, 3, 3), invertible.
    """
    count, steps, height, width, channels = images.shape
    back = torch.linalg.inv(move)[:, :2].to(images.device)
    places = functional.affine_grid(back, [count, 1, height, width], align_corners=False)
    planes = images.permute(0, 1, 4, 2, 3).reshape(count, steps * channels, height, width)
    moved = functional.grid_sample(
        planes.float(), places, mode="bilinear", padding_mode="border", align_corners=False
    )
    pixels = moved.add_(0.5).clamp_(0, 255).to(torch.uint8)  # + 0.5 rounds
    return pixels.reshape(count, steps, channels, height, width).permute(0, 1, 3, 4, 2).contiguous()


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


def move_points(name: str, points: Tensor, move: Tensor) -> Tensor:
    """Move (x, y) pairs; one that leaves the picture lies outside [-1, 1] and is left there.

    Args:
        name: of the label, for the message.
        points: float32 (B, K), K even: x, y, x, y, ...
        move: float32 (B, 3, 3).

    Raises:
        DataError: when K is odd.
    """
    if points.shape[1] % 2:
        raise DataError(
            f"Label {name!r} has {points.shape[1]} columns, which are no (x, y) pairs. "
            "Take it out of augment.labels."
        )
    move = move.to(points)
    pairs = points.reshape(len(points), -1, 2)
    return (pairs @ move[:, :2, :2].mT + move[:, None, :2, 2]).reshape(points.shape)
