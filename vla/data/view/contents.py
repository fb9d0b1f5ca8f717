"""What a store holds, in figures."""

from collections import Counter
from dataclasses import dataclass

from vla.data.store import TrajectoryStore
from vla.data.store_segment import SEGMENTS


@dataclass(frozen=True, kw_only=True, slots=True)
class Contents:
    """Figures of a store.

    Attributes:
        episodes, steps, segments: how many.
        hours: of demonstrations, at the declared rate.
        instructions: episodes by instruction, commonest first.
        verdicts: episodes by success: "yes", "no", "not said".
        codec: of the images.
        image_bytes: by camera, on disk.
        other_bytes: of everything else in the listed segments.
    """

    episodes: int
    steps: int
    segments: int
    hours: float
    instructions: dict[str, int]
    verdicts: dict[str, int]
    codec: str
    image_bytes: dict[str, int]
    other_bytes: int


def measure_contents(store: TrajectoryStore) -> Contents:
    """Count and measure; reads names and sizes of files, not their content."""
    manifest = store.manifest
    images = dict.fromkeys(store.embodiment.cameras, 0)
    other = 0
    for segment in manifest.segments:
        for file in segment.files:
            size = (store.path / SEGMENTS / segment.name / file).stat().st_size
            parts = file.split("/")
            if parts[0] == "images" and len(parts) > 2 and parts[1] in images:
                images[parts[1]] += size
            else:
                other += size
    words = {True: "yes", False: "no", None: "not said"}
    return Contents(
        episodes=store.num_episodes,
        steps=store.num_frames,
        segments=len(manifest.segments),
        hours=store.num_frames / store.embodiment.hz / 3600,
        instructions=dict(Counter(store.instructions).most_common()),
        verdicts=dict(Counter(words[record.success] for record in store.records)),
        codec=store.manifest.codec["name"],
        image_bytes=images,
        other_bytes=other,
    )
