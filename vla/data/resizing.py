"""Bringing frames to another size, the same way for training and for evaluation."""

import cv2
import numpy as np

from vla.types import Uint8


def resize_frames(frames: Uint8, height: int, width: int) -> Uint8:
    """uint8 (n, H, W, 3) to (n, height, width, 3); the same array when nothing changes.

    Shrinking averages over areas, which does not alias; growing is cubic. The aspect ratio
    is not kept: crop before where that matters.
    """
    if frames.shape[1:3] == (height, width):
        return frames
    shrinks = frames.shape[1] >= height and frames.shape[2] >= width
    how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    small = np.empty((len(frames), height, width, 3), np.uint8)
    for row, frame in enumerate(frames):
        cv2.resize(frame, (width, height), dst=small[row], interpolation=how)
    return small
