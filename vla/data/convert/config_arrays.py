"""Options of the formats that keep plain arrays: HDF5 and zarr v2."""

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vla.data.convert.config import SourceConfig
from vla.errors import ConfigError, choose

if TYPE_CHECKING:
    from vla.data.convert.conversion import TrajectorySource


@dataclass(kw_only=True, slots=True)
class RobomimicConfig(SourceConfig):
    """robomimic demonstrations: HDF5 with data/demo_<n>.

    Attributes:
        path: one HDF5 file, or a folder of them.
        robot: what to call the body.
        cameras: observation key to our name, e.g. "source.cameras={KEY: NAME}"; empty: every
            picture, under its own name.
        state: observation keys that make up the state, in order.
        images: how pictures become upright: "as_is", "flip" (top and bottom) or "rot180".
        flip_gripper: turn robosuite's -1 open, +1 closed into 1 open, 0 closed.
        mode: "delta" (controller inputs from -1 to 1), or "absolute" poses (m, rad).
        drop_noops: leave out steps that neither move the arm nor change the gripper.
        hz: control rate; a file that tells another one is refused.
        instruction: what to do; "" takes the file's own words.
    """

    kind: str = "robomimic"
    path: str = "???"
    robot: str = "panda_robosuite"
    cameras: dict[str, str] = field(default_factory=dict)
    state: list[str] = field(
        default_factory=lambda: ["robot0_eef_pos", "robot0_eef_quat", "robot0_gripper_qpos"]
    )
    images: str = "as_is"
    flip_gripper: bool = True
    mode: str = "delta"
    drop_noops: bool = False
    hz: float = 20.0
    instruction: str = ""

    def __post_init__(self) -> None:
        choose("source.images", self.images, dict.fromkeys(("as_is", "flip", "rot180")))
        choose("source.mode", self.mode, dict.fromkeys(("delta", "absolute")))
        _require_rate(self.hz)
        if not self.state:
            raise ConfigError("source.state is empty; name at least one observation key.")

    def build(self) -> "TrajectorySource":
        """Open the files. Raises DataError or UnknownChoice."""
        from vla.data.convert.robomimic import RobomimicSource

        return RobomimicSource(self)


@dataclass(kw_only=True, slots=True)
class LiberoConfig(RobomimicConfig):
    """LIBERO demonstrations: robomimic's layout with other keys, and pictures upside down.

    Attributes:
        kind: "libero"; all else as for robomimic. Its pictures are turned by 180 degrees like
            those of every public LIBERO policy, which swaps left and right; images=flip gives
            the true view.
    """

    kind: str = "libero"
    state: list[str] = field(default_factory=lambda: ["ee_pos", "ee_ori", "gripper_states"])
    images: str = "rot180"

    def __post_init__(self) -> None:
        RobomimicConfig.__post_init__(self)
        self.cameras = self.cameras or {"agentview_rgb": "front", "eye_in_hand_rgb": "wrist"}


@dataclass(kw_only=True, slots=True)
class AlohaConfig(SourceConfig):
    """ALOHA and ACT episodes, one HDF5 file each.

    Attributes:
        path: a folder of episode_<n>.hdf5, or one file.
        instruction: what to do; the files do not tell.
        cameras: source name to our name, e.g. "source.cameras={KEY: NAME}"; empty: every
            camera, under its own name.
        state: what makes up the state: "qpos", "qvel", "effort".
        swap_colours: exchange red and blue, for recorders that gave OpenCV the wrong order;
            JPEG files are then decoded and encoded anew.
        hz: control rate; the files do not tell.
    """

    kind: str = "aloha"
    path: str = "???"
    instruction: str = ""
    cameras: dict[str, str] = field(default_factory=dict)
    state: list[str] = field(default_factory=lambda: ["qpos"])
    swap_colours: bool = False
    hz: float = 50.0

    def __post_init__(self) -> None:
        _require_rate(self.hz)
        if not self.state:
            raise ConfigError("source.state is empty; give at least qpos.")

    def build(self) -> "TrajectorySource":
        """Open the folder. Raises ConfigError, DataError or UnknownChoice."""
        _require_words(self.instruction)
        from vla.data.convert.aloha import AlohaSource

        return AlohaSource(self)


@dataclass(kw_only=True, slots=True)
class UmiConfig(SourceConfig):
    """A replay buffer of UMI (or, as `pusht`, of diffusion_policy): zarr v2, folder or zip.

    Attributes:
        path: the .zarr folder or .zarr.zip file.
        instruction: what to do; the buffer does not tell.
        cameras: source name to our name, e.g. "source.cameras={KEY: NAME}"; empty: every
            picture, under its own name.
        hz: rate of the steps; UMI's cameras run at 59.94. Recorded timestamps must agree.
    """

    kind: str = "umi"
    path: str = "???"
    instruction: str = ""
    cameras: dict[str, str] = field(default_factory=dict)
    hz: float = 59.94

    def __post_init__(self) -> None:
        _require_rate(self.hz)

    def build(self) -> "TrajectorySource":
        """Open the buffer. Raises ConfigError, DataError or UnknownChoice."""
        _require_words(self.instruction)
        from vla.data.convert.umi import UmiSource

        return UmiSource(self)


@dataclass(kw_only=True, slots=True)
class PushtConfig(UmiConfig):
    """diffusion_policy's PushT replay buffer.

    Attributes:
        kind: "pusht"; all else as for UMI.
    """

    kind: str = "pusht"
    instruction: str = "push the T-shaped block onto its outline"
    hz: float = 10.0


def _require_rate(hz: float) -> None:
    if not (math.isfinite(hz) and hz > 0):
        raise ConfigError(f"source.hz is {hz}; give a positive number.")


def _require_words(instruction: str) -> None:
    if not instruction:
        raise ConfigError("The files do not say what to do; give source.instruction=...")
