"""Image augmentation as one function of (batch, generator).

Values are drawn per window and camera and shared by the window's history, so that motion
between frames stays true. First the picture moves (and labels that are image coordinates
with it), then its pixels change.
"""

from dataclasses import replace

import torch

from vla.data.augment_geometry import move_images, move_points
from vla.data.augment_pixels import change_pixels
from vla.data.batch import Batch
from vla.data.config import AugmentConfig


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
    images, moves = {}, {}
    for name in sorted(batch.images):  # a fixed order of draws
        image, moves[name] = move_images(batch.images[name], generator=generator, config=config)
        images[name] = change_pixels(image, generator=generator, config=config)
    labels = dict(batch.labels)
    for label, camera in config.labels.items():
        move = moves.get(camera)
        if label in labels and move is not None:
            labels[label] = move_points(label, labels[label], move)
    return replace(batch, images=images, labels=labels)
