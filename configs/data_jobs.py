"""The jobs of `vla data`: tools that look at stores, and tools that copy them."""

import re
from dataclasses import dataclass, field

from omegaconf import MISSING

from vla.data.splits import SPLITS
from vla.errors import ConfigError, choose


@dataclass(kw_only=True, slots=True)
class DataInfoJob:
    """Show what a store holds: axes, cameras, instructions, sizes, where it comes from.

    Attributes:
        path: folder of the store.
    """

    path: str = MISSING


@dataclass(kw_only=True, slots=True)
class DataCheckJob:
    """Find what is wrong with a store; each finding says what to do about it.

    Ends with status 1 when there is an error, else 0. Nothing in the store is changed.

    Attributes:
        path: folder of the store.
        frames: decoded per episode and camera for the checks of pictures; 0 leaves them out.
            All frames are compared with the one before as bytes, whatever this says.
        verify: compare every file with its digest first, which reads the whole store.
        strict: warnings count as errors.
        output: also write the findings there: NAME.html, with pictures, or NAME.json.
    """

    path: str = MISSING
    frames: int = 8
    verify: bool = True
    strict: bool = False
    output: str = ""

    def __post_init__(self) -> None:
        if self.frames < 0:
            raise ConfigError(f"frames is {self.frames}; it must not be negative.")
        if self.output and not self.output.endswith((".html", ".json")):
            raise ConfigError(f"output={self.output} must end in .html or .json.")


@dataclass(kw_only=True, slots=True)
class DataViewJob:
    """Show one episode: films, curves of every axis, words; or record it for Rerun.

    Attributes:
        path: folder of the store.
        episode: its number, from 0.
        rerun: write a Rerun recording instead of a page; stored JPEG frames go in as they are.
        output: file to write; "" takes episode-N.html or episode-N.rrd here.
    """

    path: str = MISSING
    episode: int = 0
    rerun: bool = False
    output: str = ""


@dataclass(kw_only=True, slots=True)
class DataStatsJob:
    """Show exact statistics of every axis over one split. Nothing is kept anywhere.

    Attributes:
        path: folder of the store.
        split: "train", "held_out" or "all"; training normalises with those of "train".
        held_out: fraction of the episodes kept from training.
        output: also write a page with histograms there; "" for none.
    """

    path: str = MISSING
    split: str = "train"
    held_out: float = 0.1
    output: str = ""

    def __post_init__(self) -> None:
        choose("split", self.split, dict.fromkeys(SPLITS))


@dataclass(kw_only=True, slots=True)
class DataTokenizerJob:
    """Fit a FAST tokenizer on a store's chunks, as a policy's head sees them.

    Attributes:
        path: folder of the store.
        held_out: fraction of the episodes kept from training; the errors shown are theirs.
        horizon: rows of a chunk.
        normalization, bounded_axes, relative_actions: as of the policy that will use it.
        scale: of the rounding; larger is finer and takes more words.
        vocabulary: how many words.
        chunks: most chunks to learn from.
        output: folder of the tokenizer.
    """

    path: str = MISSING
    held_out: float = 0.1
    horizon: int = 16
    normalization: str = "quantile"
    bounded_axes: list[str] = field(default_factory=list)
    relative_actions: bool = False
    scale: float = 10.0
    vocabulary: int = 1024
    chunks: int = 100_000
    output: str = MISSING

    def __post_init__(self) -> None:
        if self.chunks < 1 or not self.scale > 0:
            raise ConfigError(f"chunks {self.chunks} and scale {self.scale} must be above 0.")


@dataclass(kw_only=True, slots=True)
class DataCompactJob:
    """Merge the many small segments of a recorded store into few; the episodes stay as they are.

    Safe beside readers and writers, and to kill. Readers that had the store open go on with
    the old folders, which are deleted once they are `keep_hours` old.

    Attributes:
        path: folder of the store.
        keep_hours: how long folders that were replaced stay; 0 deletes them now.
    """

    path: str = MISSING
    keep_hours: float = 24.0

    def __post_init__(self) -> None:
        if self.keep_hours < 0:
            raise ConfigError(f"keep_hours is {self.keep_hours}; it must not be negative.")


@dataclass(kw_only=True, slots=True)
class DataSplitJob:
    """Copy a store into two, `output`/train and `output`/held_out, by the rule of training.

    The side of an episode depends on its content alone. Images are copied as they are.

    Attributes:
        path: folder of the store; it is not changed.
        held_out: fraction of the episodes for held_out.
        output: folder of the two new stores.
    """

    path: str = MISSING
    held_out: float = 0.1
    output: str = MISSING

    def __post_init__(self) -> None:
        if not 0 < self.held_out < 1:
            raise ConfigError(f"held_out is {self.held_out}; it must lie between 0 and 1.")


@dataclass(kw_only=True, slots=True)
class DataMergeJob:
    """Copy several stores of one embodiment into one; equal episodes are taken once.

    Attributes:
        paths: folders of the stores, in order; they are not changed.
        output: folder of the new store.
    """

    paths: list[str] = MISSING
    output: str = MISSING

    def __post_init__(self) -> None:
        if len(self.paths) < 2:
            raise ConfigError("Give two stores or more: paths=[first,second].")


@dataclass(kw_only=True, slots=True)
class DataEditJob:
    """Copy a store with changes: episodes left out, steps cut off, instructions reworded.

    Episode numbers are those of the old store. Images are copied as they are.

    Attributes:
        path: folder of the store; it is not changed.
        drop: numbers of episodes to leave out.
        instruction: old words to new words, e.g. 'instruction=["pick cup -> lift the cup"]'.
        trim: the steps to keep of an episode, EPISODE:FIRST:STOP without STOP, e.g. trim=[3:0:40].
        output: folder of the new store.
    """

    path: str = MISSING
    drop: list[int] = field(default_factory=list)
    instruction: list[str] = field(default_factory=list)
    trim: list[str] = field(default_factory=list)
    output: str = MISSING

    def __post_init__(self) -> None:
        if not (self.drop or self.instruction or self.trim):
            raise ConfigError("Nothing to change; give drop, instruction or trim.")
        self.read_instruction()
        self.read_trim()

    def read_instruction(self) -> dict[str, str]:
        """Old words to new words. Raises ConfigError."""
        changes = {}
        for entry in self.instruction:
            old, arrow, new = entry.partition("->")
            if not arrow or not new.strip():
                raise ConfigError(
                    f'instruction entry {entry!r} must read "old words -> new words".'
                )
            changes[old.strip()] = new.strip()
        return changes

    def read_trim(self) -> dict[int, tuple[int, int]]:
        """Episode to (first, past the last) step. Raises ConfigError."""
        spans = {}
        for entry in self.trim:
            found = re.fullmatch(r"(\d+):(\d+):(\d+)", entry)
            if not found or int(found[2]) >= int(found[3]):
                raise ConfigError(f"trim entry {entry!r} must read EPISODE:FIRST:STOP, as 3:0:40.")
            spans[int(found[1])] = (int(found[2]), int(found[3]))
        return spans
