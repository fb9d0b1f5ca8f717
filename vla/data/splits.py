"""Which episodes train and which are kept aside."""

import hashlib

import numpy as np
from numpy.typing import NDArray

from vla.errors import DataError, UnknownChoice

SPLITS = ("train", "held_out", "all")


def split_episodes(uids: list[str], name: str, held_out: float) -> NDArray[np.int64]:
    """Numbers of the episodes on one side.

    The side depends on the episode's uid alone, a digest of its content: it survives
    appending and reordering, and equal episodes never end up on both sides. The share is
    therefore approximate. With `held_out` > 0 and at least two different episodes neither
    side is empty, at the price that the side of an extreme episode may then change when
    more are appended.

    Args:
        uids: one per episode.
        name: "train", "held_out" or "all".
        held_out: fraction to keep from training, 0 to below 1.

    Raises:
        UnknownChoice, DataError: for another name or fraction.
    """
    if name not in SPLITS:
        raise UnknownChoice("split", name, SPLITS)
    if not 0 <= held_out < 1:
        raise DataError(f"held_out is {held_out}; it must be at least 0 and below 1.")
    everything = np.arange(len(uids), dtype=np.int64)
    if name == "all":
        return everything
    draws = np.array([_draw(uid) for uid in uids])
    aside = draws < held_out
    if held_out > 0 and len(set(uids)) > 1:
        if not aside.any():
            aside = draws == draws.min()
        elif aside.all():
            aside = draws != draws.max()
    return everything[aside if name == "held_out" else ~aside]


def _draw(uid: str) -> float:
    """A number in [0, 1) that is a function of the uid alone."""
    return int.from_bytes(hashlib.sha256(f"split {uid}".encode()).digest()[:6], "big") / 2**48
