"""LeRobot data sets read without lerobot: hand-made ones always, real ones where they lie."""

import json
import math
import os
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.vla.data.convert import lerobot_sets as sets
from vla.data.codec import decode_jpeg
from vla.data.convert.config import AxisRule, LerobotConfig
from vla.data.convert.conversion import convert
from vla.errors import ConfigError, DataError, UnknownChoice
from vla.types import Subtask

SHARED = os.environ.get("VLA_SHARED_DATA", Path(__file__).parents[4] / "../shared/data")
G1 = Path(SHARED).resolve() / "g1_bottle_lerobot_v21"
GR00T = Path(SHARED).resolve() / "gr00t_sim_picknplace_lerobot_v20"
needs_samples = pytest.mark.skipif(
    not (G1.is_dir() and GR00T.is_dir()),
    reason=f"no LeRobot samples at {G1} and {GR00T}; set VLA_SHARED_DATA",
)
LAYOUTS = [(v, mode) for v in ("v2.0", "v2.1", "v3.0") for mode in ("video", "image")]


def options(folder: Path, **changes) -> LerobotConfig:
    given = {"unit": "rad", "action_mode": "absolute", "frame": "joint", "codec": "zstd"}
    return LerobotConfig(path=str(folder), **{**given, **changes})


def read_all(folder: Path, **changes) -> list:
    return [pending.read() for pending in options(folder, **changes).build()]


def edit_json(path: Path, change) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


# -- what is read ------------------------------------------------------------------


@pytest.mark.parametrize(("version", "mode"), LAYOUTS)
def test_every_layout_gives_the_same_episodes(tmp_path, version, mode):
    folder = sets.write_set(tmp_path / "set", version, mode)
    episodes = read_all(folder)
    first = 0
    assert [len(episode) for episode in episodes] == [5, 3, 4, 6]
    for index, episode in enumerate(episodes):
        length = len(episode)
        np.testing.assert_array_equal(episode.state, sets.numbers(length, first, 3))
        np.testing.assert_array_equal(episode.action, sets.numbers(length, first + 100, 2))
        stamps = (np.arange(length) / sets.FPS).astype(np.float32).astype(np.float64)
        np.testing.assert_array_equal(episode.time, stamps)
        assert episode.captured == {}  # the format tells nominal times only
        assert episode.instruction == sets.TASKS[index % 2]
        assert episode.source["episode_index"] == index
        found = [sets.number_of(frame) for frame in episode.images["cam_high"]]
        assert found == list(range(first, first + length))
        first += length


@pytest.mark.parametrize("per_file", [1, 3, 4])
def test_shared_films_and_tables_do_not_mix_up_episodes(tmp_path, per_file):
    folder = sets.write_set(tmp_path / "set", "v3.0", lengths=(3, 4, 5, 6, 2), per_file=per_file)
    films = list(folder.glob("videos/*/*/*.mp4"))
    assert len(films) == math.ceil(5 / per_file)
    found = [
        sets.number_of(frame)
        for episode in read_all(folder)
        for frame in episode.images["cam_high"]
    ]
    assert found == list(range(20))


def test_episodes_of_a_shared_film_may_be_read_in_any_order(tmp_path):
    folder = sets.write_set(tmp_path / "set", "v3.0", lengths=(5, 5, 5, 5), per_file=4)
    pending = list(options(folder).build())
    for index in (3, 1, 1, 0, 2):
        frames = pending[index].read().images["cam_high"]
        assert [sets.number_of(frame) for frame in frames] == list(range(5 * index, 5 * index + 5))


def test_each_film_is_decoded_once(tmp_path, monkeypatch):
    folder = sets.write_set(tmp_path / "set", "v3.0", per_file=2)
    opened = []
    original = av.open
    monkeypatch.setattr(av, "open", lambda path: opened.append(path) or original(path))
    read_all(folder)
    assert len(opened) == len(set(opened)) == 2


def test_png_rows_stay_exact_and_jpeg_rows_keep_their_bytes(tmp_path):
    folder = sets.write_set(tmp_path / "set", "v3.0", "image", lengths=(2,))
    frames = read_all(folder)[0].images["cam_high"]
    np.testing.assert_array_equal(frames, [sets.picture(0), sets.picture(1)])

    jpegs = read_all(folder, codec="jpeg")[0].images["cam_high"]
    assert all(isinstance(jpeg, bytes) for jpeg in jpegs)
    path = next(folder.glob("data/*/*.parquet"))
    cells = [{"bytes": jpeg, "path": None} for jpeg in jpegs]
    table = pq.read_table(path)
    pq.write_table(table.set_column(table.column_names.index(sets.KEY), sets.KEY, [cells]), path)
    assert read_all(folder, codec="jpeg")[0].images["cam_high"] == jpegs
    small = read_all(folder, image_size=[16, 24])[0].images["cam_high"]
    assert small.shape == (2, 16, 24, 3)


def test_pictures_shrink_by_averaging(tmp_path):
    folder = sets.write_set(tmp_path / "set", "v3.0", "image", lengths=(1,))
    path = next(folder.glob("data/*/*.parquet"))
    board = np.indices(sets.SIZE).sum(0) % 2 * 255  # a chessboard of single pixels
    cell = {"bytes": sets.png(np.repeat(board[..., None], 3, 2).astype(np.uint8)), "path": None}
    table = pq.read_table(path)
    pq.write_table(table.set_column(table.column_names.index(sets.KEY), sets.KEY, [[cell]]), path)
    frame = read_all(folder, image_size=[8, 12])[0].images["cam_high"][0]
    assert np.abs(frame.astype(int) - 127).max() <= 4


def test_a_task_that_changes_gives_subtasks(tmp_path):
    folder = sets.write_set(tmp_path / "set", "v3.0", tasks={0: [0, 0, 1, 1, 0]})
    episode = read_all(folder)[0]
    first, second = sets.TASKS
    assert episode.instruction == f"{first}; {second}"
    assert episode.subtasks == (
        Subtask(start=0, stop=2, text=first),
        Subtask(start=2, stop=4, text=second),
        Subtask(start=4, stop=5, text=first),
    )


def test_success_where_the_set_tells_it(tmp_path):
    folder = sets.write_set(tmp_path / "set", "v2.1", lengths=(3, 3))
    assert [episode.success for episode in read_all(folder)] == [None, None]
    lines = [json.loads(line) for line in (folder / "meta/episodes.jsonl").read_text().splitlines()]
    text = "\n".join(json.dumps({**line, "success": n == 1}) for n, line in enumerate(lines))
    (folder / "meta/episodes.jsonl").write_text(text)
    assert [episode.success for episode in read_all(folder)] == [False, True]


# -- what the numbers mean ------------------------------------------------------------


def test_axes_take_names_from_the_set_and_meaning_from_the_options(tmp_path):
    folder = sets.write_set(tmp_path / "set", lengths=(2,))
    rules = [
        AxisRule(match="state.shoulder", keep=False),
        AxisRule(match="action.gripper", unit="1", low=0, high=1, mode="absolute"),
    ]
    source = options(folder, action_mode="delta", axes=rules, gripper="open_is_one").build()
    body = source.embodiment
    assert (body.name, body.hz, body.gripper) == ("toy_arm", 10, "open_is_one")
    assert [axis.name for axis in body.state] == ["elbow", "gripper"]
    assert {axis.mode for axis in body.state} == {"absolute"}
    elbow, gripper = body.action
    assert (elbow.unit, elbow.mode, elbow.low, elbow.high) == ("rad", "delta", -math.inf, math.inf)
    assert (gripper.unit, gripper.mode, gripper.low, gripper.high) == ("1", "absolute", 0, 1)
    state = next(iter(source)).read().state
    np.testing.assert_array_equal(state, sets.numbers(2, 0, 3)[:, 1:])


def test_modality_names_and_repeated_names(tmp_path):
    folder = sets.write_set(tmp_path / "set", lengths=(2,))
    modality = {"state": {"arm": {"start": 0, "end": 2}}, "action": {}, "video": {}}
    (folder / "meta/modality.json").write_text(json.dumps(modality))
    edit_json(
        folder / "meta/info.json",
        lambda info: info["features"]["action"].update(names=[["gripper", "gripper"]]),
    )
    body = options(folder).build().embodiment
    assert [axis.name for axis in body.state] == ["arm_0", "arm_1", "gripper"]
    assert [axis.name for axis in body.action] == ["gripper_0", "gripper_1"]


def test_nothing_is_guessed(tmp_path):
    folder = sets.write_set(tmp_path / "set", lengths=(2,))
    with pytest.raises(ConfigError, match=r"shoulder, elbow, gripper\. Give source\.unit"):
        options(folder, unit="").build()
    with pytest.raises(ConfigError, match=r"action numbers are: elbow, gripper"):
        options(folder, action_mode="").build()
    with pytest.raises(ConfigError, match=r"no axis matches 'wrist'.*action\.elbow"):
        options(folder, axes=[AxisRule(match="wrist", unit="m")]).build()
    with pytest.raises(UnknownChoice, match="cam_high"):
        options(folder, cameras={"cam_low": "front"}).build()
    with pytest.raises(ConfigError, match="image_size"):
        options(folder, image_size=[8])
    assert list(options(folder, cameras={"cam_high": "front"}).build().embodiment.cameras) == [
        "front"
    ]


# -- damaged sets -----------------------------------------------------------------------


def _cut_film(folder: Path) -> None:
    path = sorted(folder.glob("videos/**/*.mp4"))[0]
    path.write_bytes(path.read_bytes()[:-400])


def _short_film(folder: Path) -> None:
    sets.write_film(sorted(folder.glob("videos/**/*.mp4"))[0], range(4))


def _long_film(folder: Path) -> None:
    sets.write_film(sorted(folder.glob("videos/**/*.mp4"))[0], range(7))


def _fast_film(folder: Path) -> None:
    sets.write_film(sorted(folder.glob("videos/**/*.mp4"))[0], range(5), fps=25)


def _edit_rows(folder: Path, change) -> None:
    path = sorted(folder.glob("data/**/*.parquet"))[0]
    pq.write_table(change(pq.read_table(path)), path)


def _replace_rows(folder: Path, key: str, values) -> None:
    _edit_rows(folder, lambda t: t.set_column(t.column_names.index(key), key, [values]))


DAMAGE = {
    "cut film": (_cut_film, r"mp4 cannot be decoded"),
    "short film": (_short_film, r"mp4 has 4 frames for 5 rows"),
    "long film": (_long_film, r"mp4 has 7 frames for 5 rows"),
    "mixed rates": (_fast_film, r"mp4 has 25 frames per second, the data set 10"),
    "no film": (lambda f: sorted(f.glob("videos/**/*.mp4"))[0].unlink(), r"cannot be decoded"),
    "no column": (lambda f: _edit_rows(f, lambda t: t.drop(["action"])), r"lacks .*'action'"),
    "few rows": (lambda f: _edit_rows(f, lambda t: t.slice(1)), r"holds 4 rows of episode 0"),
    "time stands": (
        lambda f: _replace_rows(f, "timestamp", np.float32([0, 0.1, 0.1, 0.3, 0.4])),
        r"parquet: timestamps do not increase: row 2",
    ),
    "wrong rate": (
        lambda f: _replace_rows(f, "timestamp", np.arange(5, dtype=np.float32)),
        r"rows come every 1 s, info\.json says 10",
    ),
    "task": (lambda f: _replace_rows(f, "task_index", np.full(5, 9)), r"task_index 9"),
    "ragged": (
        lambda f: _replace_rows(f, "action", pa.array([[1.0, 2.0]] * 4 + [[1.0]])),
        r"'action' should hold 2 numbers",
    ),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_stops_its_own_episode_and_names_it(tmp_path, what):
    break_it, words = DAMAGE[what]
    folder = sets.write_set(tmp_path / "set", "v2.1")
    break_it(folder)
    episodes = iter(options(folder).build())
    first = next(episodes)
    assert first.name.endswith("set, episode 0")
    with pytest.raises(DataError, match=words):
        first.read()
    frames = next(episodes).read().images["cam_high"]
    assert [sets.number_of(frame) for frame in frames] == [5, 6, 7]


def test_a_cut_shared_film_keeps_the_episodes_before_the_cut(tmp_path):
    folder = sets.write_set(tmp_path / "set", "v3.0", lengths=(5, 5, 5), per_file=3)
    sets.write_film(next(folder.glob("videos/**/*.mp4")), range(8))
    first, second, third = options(folder).build()
    assert len(first.read()) == 5
    for pending in (second, third):
        with pytest.raises(DataError, match=r"ends after . of the 5 frames"):
            pending.read()


def test_a_stale_file_index_is_noticed(tmp_path):
    """A converter listed the first episode after a rollover under the file before it."""
    folder = sets.write_set(tmp_path / "set", "v3.0", per_file=2)
    path = folder / "meta/episodes/chunk-000/file-001.parquet"
    rows = pq.read_table(path).to_pylist()
    rows[0] |= {"data/file_index": 0, "data/chunk_index": 0}
    pq.write_table(pa.Table.from_pylist(rows), path)
    *_, third, fourth = options(folder).build()
    with pytest.raises(DataError, match=r"holds 0 rows of episode 2, the episode list says 4"):
        third.read()
    assert len(fourth.read()) == 6


def test_a_clip_that_overlaps_the_next_is_noticed(tmp_path):
    folder = sets.write_set(tmp_path / "set", "v3.0", per_file=2)
    path = folder / "meta/episodes/chunk-000/file-000.parquet"
    rows = pq.read_table(path).to_pylist()
    rows[0][f"videos/{sets.KEY}/to_timestamp"] += 0.2
    pq.write_table(pa.Table.from_pylist(rows), path)
    first, second, *_ = options(folder).build()
    with pytest.raises(DataError, match=r"mp4: the clip from 0 to 0\.7 s is not 5 frames"):
        first.read()
    assert len(second.read()) == 3


def test_a_folder_that_is_no_data_set(tmp_path):
    with pytest.raises(DataError, match=r"meta/info\.json cannot be read"):
        options(tmp_path).build()
    folder = sets.write_set(tmp_path / "set")
    edit_json(folder / "meta/info.json", lambda info: info.update(codebase_version="v1.6"))
    with pytest.raises(DataError, match=r"version v1\.6; v2\.0, v2\.1, v3\.0 are read"):
        options(folder).build()
    edit_json(
        folder / "meta/info.json",
        lambda info: info.update(codebase_version="v2.1", data_path="../../{episode_index}.x"),
    )
    with pytest.raises(DataError, match="points outside its folder"):
        options(folder).build()


def test_skipping_bad_episodes_leaves_the_rest(tmp_path):
    folder = sets.write_set(tmp_path / "set", "v2.1")
    _short_film(folder)
    source = options(folder, codec="jpeg").build()
    store = convert(source, tmp_path / "store", skip_bad=True)
    assert store.num_episodes == 3
    assert "4 frames for 5 rows" in store.provenance["skipped"][0]["reason"]


# -- real sets ----------------------------------------------------------------------------


def _psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.square(a.astype(float) - b).mean()))


def _compare(folder: Path, pending, *, data: str, film: str, texts: dict[int, str]) -> None:
    """Every number equal to pyarrow's reading, every picture near PyAV's."""
    episode = pending.read()
    table = pq.read_table(folder / data)
    for name, key in (("state", "observation.state"), ("action", "action")):
        expected = np.array(table[key].to_pylist()).astype(np.float32)
        np.testing.assert_array_equal(getattr(episode, name), expected)
    np.testing.assert_array_equal(episode.time, np.float64(table["timestamp"].to_numpy()))
    assert {episode.instruction} == {texts[n] for n in set(table["task_index"].to_pylist())}
    (jpegs,) = episode.images.values()
    with av.open(str(folder / film)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(jpegs) == len(frames) == len(table)
    decoded = np.empty_like(frames[0])
    for step in range(0, len(frames), 25):
        decode_jpeg(jpegs[step], decoded)
        assert _psnr(decoded, frames[step]) > 36


def _texts(folder: Path) -> dict[int, str]:
    lines = (folder / "meta/tasks.jsonl").read_text().splitlines()
    return {(row := json.loads(line))["task_index"]: row["task"] for line in lines}


@needs_samples
@pytest.mark.slow
def test_real_g1_episodes_equal_their_source():
    source = options(G1, codec="jpeg").build()
    assert len(source) == 12
    assert source.embodiment.hz == 30
    assert source.embodiment.state[0].name == "kLeftShoulderPitch"
    lengths = [entry.length for entry in source._folder.episodes]
    assert sum(lengths) == 4489
    place = "chunk-000/{}episode_000000"
    _compare(
        G1,
        next(iter(source)),
        data=f"data/{place.format('')}.parquet",
        film=f"videos/{place.format('observation.images.cam_high/')}.mp4",
        texts=_texts(G1),
    )


@needs_samples
@pytest.mark.slow
def test_real_gr00t_episodes_equal_their_source():
    """Its info.json has a wrong path template and declares a film that does not exist."""
    source = options(GR00T, codec="jpeg").build()
    assert len(source) == 5
    assert list(source.embodiment.cameras) == ["ego_view"]
    assert [axis.name for axis in source.embodiment.action[6:9]] == [
        "left_arm_6",
        "left_hand_0",
        "left_hand_1",
    ]
    for index, pending in enumerate(source):
        _compare(
            GR00T,
            pending,
            data=f"data/chunk-000/episode_{index:06d}.parquet",
            film=f"videos/chunk-000/observation.images.ego_view/episode_{index:06d}.mp4",
            texts=_texts(GR00T),
        )
