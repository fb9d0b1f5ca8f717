"""One episode as a Rerun recording; stored JPEG frames go in as they are."""

import os
from pathlib import Path

import numpy as np

from vla.data.copying import read_encoded
from vla.data.store import TrajectoryStore


def write_recording(store: TrajectoryStore, number: int, path: str | Path) -> Path:
    """Write an .rrd file for `rerun FILE`.

    Args:
        store: where the episode is.
        number: which one, from 0.
        path: of the recording; replaced atomically.

    Raises:
        DataError: when there is no such episode, or it is damaged.
    """
    import rerun as rr

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    episode = read_encoded(store, number)
    encoded = store.manifest.codec["name"] == "jpeg"
    draft = path.with_name(f".{path.name}.partial")
    recording = rr.RecordingStream("vla", recording_id=store.records[number].uid)
    recording.save(draft)
    words = rr.TextDocument(episode.instruction or "(no instruction)")
    recording.log("instruction", words, static=True)
    for row in range(len(episode)):
        recording.set_time("step", sequence=row)
        recording.set_time("time", duration=float(episode.time[row]))
        for camera, frames in episode.images.items():
            frame = frames[row]
            if encoded:
                picture = rr.EncodedImage(contents=frame, media_type="image/jpeg")
            else:
                picture = rr.Image(np.asarray(frame))
            recording.log(f"cameras/{camera}", picture)
        for task in episode.subtasks:
            if task.start == row:
                recording.log("subtask", rr.TextLog(task.text))
    steps = rr.TimeColumn("step", sequence=np.arange(len(episode)))
    times = rr.TimeColumn("time", duration=episode.time)
    vectors = {"state": (store.embodiment.state, episode.state)}
    for name, values in (("action", episode.action), ("sent", episode.sent)):
        if values is not None:
            vectors[name] = (store.embodiment.action, values)
    for what, (axes, values) in vectors.items():
        for index, axis in enumerate(axes):
            column = rr.Scalars.columns(scalars=values[:, index].astype(np.float64))
            recording.send_columns(f"{what}/{axis.name}", indexes=[steps, times], columns=column)
    recording.disconnect()  # closes the file
    os.replace(draft, path)
    return path
