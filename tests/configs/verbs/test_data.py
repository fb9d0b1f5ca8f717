"""`vla data`: each tool on a small store, in this process."""

import json
from pathlib import Path

import numpy as np
import pytest

from configs.data_jobs import (
    DataCheckJob,
    DataCompactJob,
    DataEditJob,
    DataInfoJob,
    DataMergeJob,
    DataSplitJob,
    DataStatsJob,
    DataTokenizerJob,
    DataViewJob,
)
from configs.launch import find_verb
from vla.data.store import TrajectoryStore
from vla.embodiment import Axis, Camera, Embodiment
from vla.errors import ConfigError, DataError
from vla.types import Trajectory


def episode(seed: int, **changes) -> Trajectory:
    rng = np.random.default_rng(seed)
    time = np.arange(30) / 10
    angle = np.sin(time + rng.uniform(0, 6))[:, None] + rng.normal(0, 1e-3, (30, 1))
    state = angle.astype(np.float32)
    content = {
        "images": {"front": rng.integers(0, 256, (30, 16, 16, 3), np.uint8)},
        "state": state,
        "action": np.roll(state, -1, axis=0),
        "instruction": f"move {seed % 2}",
        "time": time,
    }
    return Trajectory(**{**content, **changes})


@pytest.fixture
def path(tmp_path) -> str:
    body = Embodiment(
        name="one_joint",
        state=(Axis(name="q", unit="rad", low=-3, high=3, frame="joint"),),
        action=(Axis(name="q", unit="rad", low=-3, high=3, frame="joint"),),
        cameras={"front": Camera(height=16, width=16)},
        hz=10,
    )
    store = TrajectoryStore.create(tmp_path / "s", embodiment=body, provenance={"by": "[test]"})
    store.append_many(episode(seed) for seed in range(5))
    return str(store.path)


@pytest.mark.parametrize(
    ("schema", "values", "words"),
    [
        (DataCheckJob, {"output": "page.txt"}, r"must end in .html or .json"),
        (DataCheckJob, {"frames": -1}, "must not be negative"),
        (DataTokenizerJob, {"scale": 0.0}, "must be above 0"),
        (DataCompactJob, {"keep_hours": -1.0}, "must not be negative"),
        (DataStatsJob, {"split": "tran"}, "Did you mean 'train'"),
        (DataSplitJob, {"held_out": 0.0}, "between 0 and 1"),
        (DataMergeJob, {"paths": ["x"]}, "Give two stores or more"),
        (DataEditJob, {}, "Nothing to change"),
        (DataEditJob, {"instruction": ["a b"]}, "old words -> new words"),
        (DataEditJob, {"instruction": ["a -> "]}, "old words -> new words"),
        (DataEditJob, {"trim": ["3:5"]}, "EPISODE:FIRST:STOP"),
    ],
)
def test_jobs_refuse_what_makes_no_sense(schema, values, words):
    with pytest.raises(ConfigError, match=words):
        schema(**values)


def test_info(path, capsys):
    find_verb("data info")(DataInfoJob(path=path))
    shown = capsys.readouterr().out
    for words in ("one_joint", "10 Hz", "150", "[test]", "move 1", "front", "bytes a frame"):
        assert words in shown


def test_check_ends_quietly_when_nothing_is_wrong(path, capsys, tmp_path):
    out = tmp_path / "found.json"
    find_verb("data check")(DataCheckJob(path=path, strict=True, output=str(out)))
    assert "errors: 0, warnings: 0, notes: 0" in capsys.readouterr().out
    assert json.loads(out.read_text())["findings"] == []


@pytest.mark.parametrize(
    ("changes", "strict", "status"),
    [({"instruction": ""}, False, 1), ({"success": True}, True, 1), ({"success": True}, False, 0)],
)
def test_check_fails_on_errors_and_if_strict_on_warnings(path, tmp_path, changes, strict, status):
    TrajectoryStore.open(path).append(episode(9, **changes))
    job = DataCheckJob(path=path, strict=strict, output=str(tmp_path / "page.html"))
    if status:
        with pytest.raises(SystemExit) as caught:
            find_verb("data check")(job)
        assert caught.value.code == status
    else:
        find_verb("data check")(job)
    assert "What to do" in (tmp_path / "page.html").read_text()


def test_view_and_stats(path, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    find_verb("data view")(DataViewJob(path=path, episode=2))
    find_verb("data view")(DataViewJob(path=path, episode=2, rerun=True))
    find_verb("data stats")(DataStatsJob(path=path, held_out=0.5, output="stats.html"))
    shown = capsys.readouterr().out
    for name in ("episode-2.html", "episode-2.rrd", "stats.html"):
        assert Path(name).stat().st_size > 1000
        assert name in shown
    assert "Next: rerun episode-2.rrd" in shown


@pytest.mark.parametrize("relative", [False, True])
def test_tokenizer(path, tmp_path, capsys, relative):
    """Fitted on training episodes alone; the words of the held-out ones are counted."""
    from policies.heads.tokenizers.fast import FastTokenizer

    output = str(tmp_path / "words")
    job = DataTokenizerJob(
        path=path, held_out=0.4, horizon=8, relative_actions=relative, output=output
    )
    find_verb("data tokenizer")(job)
    shown = capsys.readouterr().out
    held_out = len(TrajectoryStore.open(path).split("held_out", 0.4))
    assert f"{held_out * 23} held-out chunks of 8 rows x 1 axes" in shown
    assert output in shown
    fitted = FastTokenizer.load(Path(output))
    assert (fitted.horizon, fitted.axes) == (8, 1)
    with pytest.raises(DataError, match="at least 31 steps"):
        find_verb("data tokenizer")(DataTokenizerJob(path=path, horizon=31, output=output))


def test_split_edit_and_merge(path, tmp_path, capsys):
    find_verb("data split")(DataSplitJob(path=path, held_out=0.4, output=str(tmp_path / "two")))
    edit = DataEditJob(
        path=path,
        drop=[0],
        instruction=["move 1 -> turn"],
        trim=["2:5:25"],
        output=str(tmp_path / "edited"),
    )
    find_verb("data edit")(edit)
    edited = TrajectoryStore.open(tmp_path / "edited")
    assert edited.instructions == ["turn", "move 0", "turn", "move 0"]
    assert [record.length for record in edited.records] == [30, 20, 30, 30]
    sides = [str(tmp_path / "two" / side) for side in ("train", "held_out")]
    paths = [*sides, str(tmp_path / "edited")]
    find_verb("data merge")(DataMergeJob(paths=paths, output=str(tmp_path / "all")))
    assert TrajectoryStore.open(tmp_path / "all").num_episodes == 5 + 4 - 1
    assert "edited, episode 3: there already" in capsys.readouterr().out.replace("\n", "")


def test_compact_keeps_the_episodes(path, capsys):
    store = TrajectoryStore.open(path)
    store.append(episode(9))
    find_verb("data compact")(DataCompactJob(path=path, keep_hours=0.0))
    assert "2 segments became 1; 2 old folders deleted." in capsys.readouterr().out
    after = TrajectoryStore.open(path)
    assert after.hash == store.hash
    after.verify()
