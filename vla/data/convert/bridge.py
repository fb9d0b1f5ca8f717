"""BridgeData V2 (arXiv:2308.12952) in RLDS form, as it is, under declared axes.

Actions are stored bit for bit as in the source: commanded end-effector steps. They are
not re-labelled from reached states, which gives steps about a fifth smaller (the
controller lags); the two kinds must not be mixed under one statistic. The first action
of an episode is about 0 by the data's construction and is kept.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from vla.data.convert.conversion import PendingEpisode
from vla.data.convert.rlds import RldsEpisode, RldsFolder
from vla.embodiment import Axis, Camera, Embodiment
from vla.errors import DataError, UnknownChoice
from vla.types import Trajectory

HZ = 5.0
ANGLE = 2 * np.pi
"""Bound of angles and their steps: the source does not wrap, a few steps jump by a full turn."""

STATE = (
    *(Axis(name=n, unit="m", low=-1.0, high=1.0) for n in ("x", "y", "z")),
    *(Axis(name=n, unit="rad", low=-ANGLE, high=ANGLE) for n in ("roll", "pitch", "yaw")),
    Axis(name="gripper", unit="1", low=0.0, high=1.1),
)
"""Pose of the tool in the base frame and opening of the fingers, which reads up to about 1.01."""

ACTION = (
    *(Axis(name=n, unit="m", low=-0.5, high=0.5, mode="delta") for n in ("dx", "dy", "dz")),
    *(
        Axis(name=n, unit="rad", low=-ANGLE, high=ANGLE, mode="delta")
        for n in ("droll", "dpitch", "dyaw")
    ),
    Axis(name="gripper", unit="1", low=0.0, high=1.0),
)
"""Commanded step of that pose, then the opening to reach: 1 open, 0 closed, not binarised.

The bounds are wide on purpose, so that every step of the full data set lies inside
(translations reach about 0.4 m in its outliers); they are no limits to drive an arm with.
"""


class BridgeSource:
    """Episodes of one split of a BridgeData folder.

    Args:
        folder: with features.json, dataset_info.json and the tfrecord files.
        split: as the folder names it. In public samples "val" may repeat "train".
        cameras: source name to our name, of the cameras to keep; the rest is dropped.

    Raises:
        DataError, UnknownChoice: when folder, split or cameras do not exist.
    """

    def __init__(self, folder: str, *, split: str, cameras: dict[str, str]):
        self._rlds = RldsFolder(folder)
        self._split = split
        self._cameras = cameras
        self._count = self._rlds.count(split)
        if len(set(cameras.values())) != len(cameras):
            raise DataError(f"Two source cameras get the same name: {cameras}.")
        self.embodiment = Embodiment(
            name="widowx_250",
            state=STATE,
            action=ACTION,
            cameras={ours: self._camera(theirs) for theirs, ours in cameras.items()},
            hz=HZ,
            rotation="euler_xyz",
            gripper="open_is_one",
        )
        self.provenance: dict[str, Any] = {
            "format": "rlds",
            "dataset": self._rlds.name,
            "version": self._rlds.info.get("version", ""),
            "split": split,
            "cameras": dict(cameras),
            "converter": "bridge",
        }

    def _camera(self, name: str) -> Camera:
        features, prefix = self._rlds.features, "steps/observation/"
        images = [k.removeprefix(prefix) for k, spec in features.items() if spec.kind == "image"]
        if name not in images:
            raise UnknownChoice("source camera", name, images)
        spec = features[prefix + name]
        if spec.encoding != "jpeg":
            raise DataError(f"Camera {name!r} is encoded as {spec.encoding!r}; only JPEG is read.")
        return Camera(height=spec.shape[0], width=spec.shape[1], source=f"bridge:{name}")

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[PendingEpisode]:
        """Stream the episodes."""
        episodes = self._rlds.episodes(self._split)
        for number in range(self._count):
            name = f"{self._rlds.path}, episode {number}"
            yield PendingEpisode(name, lambda: self._canonicalize(next(episodes)))

    def _canonicalize(self, episode: RldsEpisode) -> Trajectory:
        place = f"{episode.source['file']}, record {episode.source['record']}"
        try:
            texts = set(episode.steps["language_instruction"])
            state = episode.steps["observation/state"]
            action = episode.steps["action"]
            images = {
                ours: episode.steps[f"observation/{name}"] for name, ours in self._cameras.items()
            }
        except KeyError as error:
            raise DataError(f"{place} lacks step feature {error}.") from error
        if len(texts) != 1:
            raise DataError(f"{place} changes its instruction {len(texts) - 1} times.")
        metadata = {
            key.removeprefix("episode_metadata/"): _plain(value)
            for key, value in episode.metadata.items()
        }
        return Trajectory(
            images=images,
            state=state,
            action=action,
            instruction=texts.pop().decode(),
            time=np.arange(len(action)) / HZ,
            source={**episode.source, **metadata},
        )


def _plain(value: Any) -> Any:
    """A metadata value as JSON."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.tolist()
