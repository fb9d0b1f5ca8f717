"""Pages and recordings: self-contained, escaped, and true to the store."""

import base64
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from vla.data.check.inspection import inspect_store
from vla.data.stats import compute_statistics
from vla.data.store import TrajectoryStore
from vla.data.view.check_page import write_check_page
from vla.data.view.contents import measure_contents
from vla.data.view.episode_page import write_episode_page
from vla.data.view.recording import write_recording
from vla.data.view.statistics_page import write_statistics_page
from vla.errors import DataError


@pytest.fixture
def jpegs(tmp_path, embodiment, make_trajectory) -> TrajectoryStore:
    store = TrajectoryStore.create(tmp_path / "s", embodiment=embodiment, provenance={})
    store.append_many(
        replace(make_trajectory(12, seed), instruction="put <b> & go") for seed in range(3)
    )
    return store


def read_page(path) -> str:
    text = path.read_text()
    assert text.startswith("<!doctype html>")
    assert "<script" not in text
    assert not re.search(r'(src|href)="(?!data:)', text)
    return text


def test_the_page_of_an_episode_holds_its_films_and_curves(jpegs, tmp_path):
    import av

    text = read_page(write_episode_page(jpegs, 1, tmp_path / "page.html"))
    assert "put &lt;b&gt; &amp; go" in text
    assert text.count("<figcaption>") == 2 + 3 + 1  # action and state axes, time
    films = re.findall(r"data:video/mp4;base64,([^\"]+)", text)
    assert len(films) == 2
    with av.open(BytesIO(base64.b64decode(films[0]))) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"
    assert (len(frames), frames[0].shape) == (12, (240, 360, 3))
    stored = jpegs.episode(1).images["front"]
    shown = np.stack(frames)[:, 7::15, 7::15].astype(int)
    assert np.abs(shown - stored).mean() < 12  # the right pictures, in order


def test_an_episode_that_is_not_there(jpegs, tmp_path):
    for write in (write_episode_page, write_recording):
        with pytest.raises(DataError, match="Episode 9 does not exist; the store has 3"):
            write(jpegs, 9, tmp_path / "x")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("kind", ["jpegs", "store"])
def test_a_recording_opens_and_holds_the_stored_bytes(kind, request, tmp_path, monkeypatch):
    import rerun as rr

    given, image = [], rr.EncodedImage
    monkeypatch.setattr(rr, "EncodedImage", lambda **k: given.append(k["contents"]) or image(**k))
    store = request.getfixturevalue(kind)
    path = write_recording(store, 0, tmp_path / "out" / "e.rrd")
    assert [p.name for p in path.parent.iterdir()] == ["e.rrd"]
    if kind == "jpegs":
        assert given[::2] == [store.read_payload("front", frame) for frame in range(12)]
    program = shutil.which("rerun", path=str(Path(sys.executable).parent))
    for command in ("verify", "print"):
        words = [program, "rrd", command, str(path)]
        # With a home of its own the program begins its first session, which reports nothing.
        home = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
        done = subprocess.run(words, capture_output=True, text=True, check=False, env=home)
        assert done.returncode == 0, done.stderr
    for entity in ("/cameras/wrist", "/state/q2", "/action/gripper", "/instruction"):
        assert entity in done.stdout


def test_the_page_of_statistics(jpegs, tmp_path):
    episodes = [0, 2]
    statistics = compute_statistics(jpegs, episodes)
    text = read_page(write_statistics_page(jpegs, episodes, statistics, tmp_path / "p.html"))
    assert text.count("<figcaption>") == 5
    assert f"{statistics.state.mean[0]:.3g}" in text
    assert "no spread" not in text


def test_the_page_of_findings_shows_pictures(jpegs, tmp_path, make_trajectory):
    dark = {name: np.zeros_like(film) for name, film in make_trajectory(12, 5).images.items()}
    jpegs.append(replace(make_trajectory(12, 5), images=dark))
    inspection = inspect_store(jpegs)
    assert any(finding.kind == "black_camera" for finding in inspection.findings)
    text = read_page(write_check_page(jpegs, inspection, tmp_path / "p.html"))
    assert text.count("data:image/jpeg") >= 8
    assert "What to do" in text
    empty = replace(inspection, findings=())
    assert "Every check passed" in read_page(write_check_page(jpegs, empty, tmp_path / "q.html"))


def test_contents_add_up(store):
    contents = measure_contents(store)
    assert (contents.episodes, contents.steps, contents.segments) == (6, 28, 3)
    assert contents.hours == pytest.approx(28 / 10 / 3600)
    assert contents.instructions == {"task 0": 2, "task 1": 2, "task 2": 2}
    assert contents.verdicts == {"no": 3, "yes": 3}
    files = [path for path in store.path.glob("segments/**/*") if path.is_file()]
    assert sum(contents.image_bytes.values()) + contents.other_bytes == sum(
        path.stat().st_size for path in files
    )
