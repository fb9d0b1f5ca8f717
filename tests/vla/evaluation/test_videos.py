import av
import numpy as np
import pytest

from tests.vla.evaluation.fakes import PointConfig, SeekPolicy
from vla.errors import DataError
from vla.evaluation import videos
from vla.evaluation.evaluate import evaluate
from vla.evaluation.videos import Film, encode_video, film_path
from vla.runtime.config import ControlConfig
from vla.types import Observation, Outcome


def decode(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        return (stream.pix_fmt, stream.average_rate), frames


def observe(level):
    image = np.full((1, 48, 64, 3), level, np.uint8)
    return Observation(
        images={"front": image, "wrist": 255 - image[:, :, :48]},
        state=np.zeros((1, 2), np.float32),
        instruction="",
        time=0.0,
    )


def test_a_film_shows_every_frame_of_every_camera(tmp_path):
    film = Film(hz=20.0)
    levels = [30, 90, 150, 210]
    for level in levels:
        film.add(observe(level))
    film.caption("pick up the red cube " * 9, Outcome(success=True, ended=True), steps=3)
    film.save(tmp_path / "deep" / "film.mp4")
    form, frames = decode(tmp_path / "deep" / "film.mp4")
    assert form == ("yuv420p", 20)
    assert len(frames) == len(film) == 4
    width = 342 + 256  # 4:3 made even, and a square
    assert frames[0].shape == (256 + 56, width, 3)
    for level, frame in zip(levels, frames, strict=True):
        assert frame[76:286, 20:320].mean() == pytest.approx(level, abs=6)
        assert frame[76:286, 360:580].mean() == pytest.approx(255 - level, abs=6)
    assert frames[0][:56].max() > 150  # there is writing
    assert list((tmp_path / "deep").iterdir()) == [tmp_path / "deep" / "film.mp4"]


@pytest.mark.parametrize("encoder", list(videos.ENCODERS))
def test_every_encoder_writes_a_playable_file(tmp_path, monkeypatch, encoder):
    monkeypatch.setattr(videos, "ENCODERS", {encoder: videos.ENCODERS[encoder]})
    pictures = [np.full((64, 96, 3), level, np.uint8) for level in (10, 120, 240)]
    encode_video(tmp_path / "v.mp4", pictures, hz=12.5)
    _, frames = decode(tmp_path / "v.mp4")
    assert [round(frame.mean() / 10) for frame in frames] == [1, 12, 24]


def test_no_frames_and_no_encoder_are_errors(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="no frame"):
        encode_video(tmp_path / "v.mp4", [], hz=20)
    monkeypatch.setattr(videos, "ENCODERS", {"no-such-encoder": {}})
    with pytest.raises(DataError, match="no-such-encoder"):
        encode_video(tmp_path / "v.mp4", [np.zeros((2, 2, 3), np.uint8)], hz=20)


def test_an_evaluation_films_successes_and_failures(tmp_path):
    def run(seeds):
        return evaluate(
            SeekPolicy(),
            PointConfig(),
            tasks=["a/b"],
            seeds=seeds,
            control=ControlConfig(execute=2),
            directory=tmp_path,
            max_steps=12,
            videos=1,
        )

    run(range(3))
    result = run(range(12))
    filmed = [e for e in result.episodes if film_path(tmp_path, e).exists()]
    assert sorted(e.success for e in filmed) == [False, True]
    assert len(list((tmp_path / "videos").iterdir())) == 2
    for episode in filmed:
        _, frames = decode(film_path(tmp_path, episode))
        assert len(frames) == episode.steps + 1
