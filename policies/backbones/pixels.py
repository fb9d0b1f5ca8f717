"""Camera pictures to a vision tower's input, on the device where they are."""

import torch
import torch.nn.functional as F
from torch import Tensor

HALF = (0.5, 0.5, 0.5)  # SigLIP
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean, deviation; DINOv2
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))


def fit(frames: Tensor, size: int, how: str) -> Tensor:
    """Resize pictures to squares.

    Args:
        frames: uint8 (B, H, W, 3), RGB.
        size: pixels along each side of the square.
        how: "pad" keeps the aspect ratio and fills up with black on both sides (openpi's
            `resize_with_pad`), "stretch" does not keep it (OpenVLA's "resize-naive"). Pictures
            are smoothed before they shrink, but not for "pad_plain" (as "pad": LeRobot's pi0)
            and "pad_corner" (black on the left and on top: LeRobot's SmolVLA). "crop" stretches
            the central nine tenths of the area: what networks are shown that were trained on
            random crops of that size (OpenVLA-OFT, which resizes before and after).

    Returns:
        float32 (B, 3, size, size) in [0, 1].
    """
    pixels = frames.movedim(-1, 1).float() / 255
    if how == "crop":
        above, left = (round(side * (1 - 0.9**0.5) / 2) for side in pixels.shape[-2:])
        pixels = pixels[..., above : pixels.shape[-2] - above, left : pixels.shape[-1] - left]
    height, width = pixels.shape[-2:]
    if (height, width) == (size, size):
        return pixels
    target, smooth = (size, size), how in ("pad", "stretch", "crop")
    if how == "pad":
        scale = size / max(height, width)
        target = (max(1, round(height * scale)), max(1, round(width * scale)))
    elif not smooth:  # LeRobot divides by the inverse and cuts off
        ratio = max(height / size, width / size)
        target = (int(height / ratio), int(width / ratio))
    pixels = F.interpolate(pixels, target, mode="bilinear", antialias=smooth)
    above, left = size - target[0], size - target[1]
    if how != "pad_corner":
        above, left = above // 2, left // 2
    below, right = size - target[0] - above, size - target[1] - left
    return F.pad(pixels, (left, right, above, below))


def standardize(pixels: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Subtract the mean and divide by the deviation, per colour of (B, 3, H, W)."""
    center, scale = (  # filled on the device: nothing to wait for, and a CUDA graph can hold it
        torch.cat([pixels.new_full((1, 1, 1, 1), value) for value in values], dim=1)
        for values in (mean, std)
    )
    return (pixels - center) / scale
