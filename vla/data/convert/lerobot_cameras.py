"""Which cameras of a LeRobot data set are taken, what they are called, and how large they are."""

from dataclasses import replace
from typing import Any

from vla.data.convert.lerobot_extra import Extra
from vla.data.convert.lerobot_folder import LerobotFolder
from vla.embodiment import Camera
from vla.errors import ConfigError, choose


def choose_cameras(
    folder: LerobotFolder, wanted: dict[str, str], extra: Extra | None
) -> dict[str, str]:
    """Feature key to our name.

    Args:
        folder: the data set.
        wanted: feature key, or its last part, to our name; empty for all colour cameras.
        extra: what a store's export noted, whose names count then.

    Raises:
        UnknownChoice: for a camera that does not exist.
        ConfigError: when two get the same name.
    """
    keys = {
        key: key.rsplit(".", 1)[-1]
        for key, spec in folder.features.items()
        if spec["dtype"] in ("image", "video") and not _is_depth(spec)
    }
    if wanted:
        known = {**{last: key for key, last in keys.items()}, **{key: key for key in keys}}
        chosen = {choose("source camera", theirs, known): ours for theirs, ours in wanted.items()}
    elif extra is not None:
        chosen = dict(extra.cameras)
    else:
        # info.json may declare films that do not exist (GR00T's sample does); where there is a
        # modality.json, it lists those that do.
        films = folder.modality.get("video", {})
        listed = {spec.get("original_key", name): name for name, spec in films.items()}
        chosen = {
            key: listed.get(key, last) for key, last in keys.items() if not listed or key in listed
        }
    if len(set(chosen.values())) != len(chosen) or len(chosen) < len(wanted):
        raise ConfigError(f"Two cameras would get the same name, or one two: {chosen or wanted}.")
    return chosen


def read_size(folder: LerobotFolder, key: str) -> tuple[int, int]:
    """Height and width that info.json declares for a camera, pixels."""
    spec = folder.features[key]
    shape = spec["shape"]
    named = dict(zip(spec.get("names") or (), shape, strict=False))
    return int(named.get("height", shape[0])), int(named.get("width", shape[1]))


def rescale(camera: Camera, height: int, width: int) -> Camera:
    """The camera at another picture size; its intrinsics follow."""
    if (height, width) == (camera.height, camera.width):
        return camera
    intrinsics = camera.intrinsics
    if intrinsics is not None:
        x, y = width / camera.width, height / camera.height
        fx, fy, cx, cy = intrinsics
        intrinsics = (fx * x, fy * y, cx * x, cy * y)
    return replace(camera, height=height, width=width, intrinsics=intrinsics)


def _is_depth(spec: dict[str, Any]) -> bool:
    """Whether a picture feature is a depth map, by either version's mark."""
    info = spec.get("info") or spec.get("video_info") or {}
    return bool(info.get("is_depth_map") or info.get("video.is_depth_map"))
