"""Changing what pictures look like, not where things are: colours, JPEG marks, covered parts."""

import math

import numpy as np
import simplejpeg
import torch
from torch import Tensor

from vla.data.config import AugmentConfig

# Rec. 601 luma, and the two axes of colour of NTSC's YIQ, from RGB.
YIQ = torch.tensor(
    [[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]],
    dtype=torch.float64,
)
ERASED_AREA = (0.02, 0.2)
ERASED_PROPORTION = (1 / 3, 3.0)
"""Of a covered rectangle: its share of the picture, and its height by its width."""


def change_pixels(images: Tensor, *, generator: torch.Generator, config: AugmentConfig) -> Tensor:
    """Brightness and contrast, saturation and hue, JPEG, a covered part: as drawn.

    Args:
        images: uint8 (B, T, H, W, 3).
        generator: on the CPU.
        config: its `brightness`, `contrast`, `saturation`, `hue`, `jpeg` and `erase`.
    """
    count = len(images)
    if config.brightness or config.contrast:
        limits = torch.tensor([[config.brightness], [config.contrast]])
        brightness, contrast = 1 + _draw_signed((2, count), generator) * limits
        images = adjust_colours(images, brightness.to(images.device), contrast.to(images.device))
    if config.saturation or config.hue:
        draws = _draw_signed((2, count), generator)
        images = turn_colours(images, 1 + draws[0] * config.saturation, draws[1] * config.hue)
    if config.jpeg:
        quality = torch.randint(100 - config.jpeg, 101, (count,), generator=generator)
        images = compress_images(images, quality)
    if config.erase:
        images = erase_rectangles(images, torch.rand((8, count), generator=generator), config.erase)
    return images


def _draw_signed(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator) * 2 - 1


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


def turn_colours(images: Tensor, saturation: Tensor, hue: Tensor) -> Tensor:
    """Scale and turn colours about grey, keeping each pixel's luma; clipped to [0, 255].

    Done in YIQ, where both are one linear map, not in HSV: half a turn still makes red cyan,
    and nothing jumps.

    Args:
        images: uint8 (B, T, H, W, 3).
        saturation: float32 (B,), 1 leaves the images as they are, 0 makes them grey.
        hue: float32 (B,), fraction of a full turn.
    """
    angle = hue.double() * 2 * math.pi
    change = torch.eye(3, dtype=torch.float64).repeat(len(images), 1, 1)
    change[:, 1, 1] = change[:, 2, 2] = saturation * angle.cos()
    change[:, 1, 2] = -saturation * angle.sin()
    change[:, 2, 1] = saturation * angle.sin()
    colours = (torch.linalg.inv(YIQ) @ change @ YIQ).float().to(images.device)
    pixels = images.reshape(len(images), -1, 3).float() @ colours.mT
    return pixels.add_(0.5).clamp_(0, 255).to(torch.uint8).reshape(images.shape)


def compress_images(images: Tensor, quality: Tensor) -> Tensor:
    """Compress as JPEG (4:2:0) and decode again, one frame after the other, on the CPU.

    Args:
        images: uint8 (B, T, H, W, 3); from another device they travel to the CPU and back.
        quality: int64 (B,), 1 to 100.
    """
    source = images.cpu().contiguous().numpy()
    result = np.empty_like(source)
    for window, level in enumerate(quality.tolist()):
        for before, after in zip(source[window], result[window], strict=True):
            file = simplejpeg.encode_jpeg(before, quality=level, colorsubsampling="420")
            simplejpeg.decode_jpeg(file, "RGB", buffer=after)
    return torch.from_numpy(result).to(images.device)


def erase_rectangles(images: Tensor, draws: Tensor, probability: float) -> Tensor:
    """Cover one rectangle of one colour, in all steps of some windows.

    Args:
        images: uint8 (B, T, H, W, 3).
        draws: float32 (8, B) in [0, 1): whether, area, proportion, place down and right, colour.
        probability: of covering, 0 to 1.
    """
    _, _, height, width, _ = images.shape
    least, most = ERASED_AREA
    flat, tall = map(math.log, ERASED_PROPORTION)
    area = (least + draws[1] * (most - least)) * height * width
    proportion = (flat + draws[2] * (tall - flat)).exp()
    rows = (area * proportion).sqrt().clamp(1, height)
    columns = (area / proportion).sqrt().clamp(1, width)
    rows = torch.where(draws[0] < probability, rows, 0).round()
    top, left = (draws[3] * (height - rows)).round(), (draws[4] * (width - columns)).round()
    down, right = torch.arange(height), torch.arange(width)
    inside_rows = (down >= top[:, None]) & (down < (top + rows)[:, None])
    inside_columns = (right >= left[:, None]) & (right < (left + columns.round())[:, None])
    inside = (inside_rows[:, :, None] & inside_columns[:, None]).to(images.device)
    colour = (draws[5:8].T * 256).to(torch.uint8).to(images.device)
    return torch.where(inside[:, None, :, :, None], colour[:, None, None, None], images)
