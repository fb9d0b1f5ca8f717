"""Damage in an RLDS folder: each record's own error, and the rest goes on."""

import json
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vla.data.convert.config import OpenXConfig
from vla.data.convert.conversion import convert
from vla.data.convert.openx.table import RECIPES
from vla.errors import DataError, VlaError

NAME = "roboturk"
RECIPE = RECIPES[NAME]
FIRST, SECOND = (f"toy-train.tfrecord-0000{number}-of-00002" for number in range(2))


@pytest.fixture
def folder(tmp_path, maker):
    """Episodes of 2, 3, 4 steps in one file and of 5 in another."""
    lengths = [[2, 3, 4], [5]]
    shards = [[maker.episode(RECIPE, n, n) for n in shard] for shard in lengths]
    return maker.write(tmp_path / "toy", RECIPE, shards)


def _convert(folder, tmp_path):
    """Lengths of the episodes that could be read, and what was said of the others."""
    source = OpenXConfig(dataset=NAME, path=str(folder)).build()
    store = convert(source, tmp_path / "out", skip_bad=True)
    lengths = [record.length for record in store.records]
    return lengths, store.provenance.get("skipped", [])


def _offsets(path):
    """Where each record begins."""
    data, offset = path.read_bytes(), 0
    while offset < len(data):
        yield offset
        offset += 16 + int.from_bytes(data[offset : offset + 8], "little")


def _flip(path, offset):
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def test_an_intact_folder(folder, tmp_path):
    assert _convert(folder, tmp_path) == ([2, 3, 4, 5], [])


def test_corrupt_data_costs_one_record(folder, tmp_path):
    offset = list(_offsets(folder / FIRST))[1]
    _flip(folder / FIRST, offset + 40)
    lengths, (skipped,) = _convert(folder, tmp_path)
    assert lengths == [2, 4, 5]
    assert skipped["episode"] == f"{FIRST}, record 1"
    assert f"{FIRST}, record at byte {offset}: the checksum of its data" in skipped["reason"]


@pytest.mark.parametrize("cut", [False, True])
def test_what_cannot_be_followed_costs_the_rest_of_its_file(folder, tmp_path, cut):
    offset = list(_offsets(folder / FIRST))[1]
    if cut:
        (folder / FIRST).write_bytes((folder / FIRST).read_bytes()[: offset + 100])
    else:
        _flip(folder / FIRST, offset)
    lengths, (skipped,) = _convert(folder, tmp_path)
    assert lengths == [2, 5]
    assert skipped["episode"] == f"{FIRST}, record 1"
    assert f"record at byte {offset}" in skipped["reason"]
    assert "Lost with it: 2 of 3 episodes" in skipped["reason"]


def test_a_missing_file_costs_its_episodes(folder, tmp_path):
    (folder / FIRST).unlink()
    lengths, (skipped,) = _convert(folder, tmp_path)
    assert lengths == [5]
    assert "Cannot read" in skipped["reason"]
    assert "3 of 3 episodes" in skipped["reason"]


def test_too_few_records_are_told_at_the_end(folder, tmp_path):
    data = (folder / FIRST).read_bytes()
    (folder / FIRST).write_bytes(data[: list(_offsets(folder / FIRST))[2]])
    lengths, (skipped,) = _convert(folder, tmp_path)
    assert lengths == [2, 3, 5]
    assert "holds 2 episodes, dataset_info.json says 3" in skipped["reason"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"steps/action/world_vector": None}, "lacks step feature 'action/world_vector'"),
        ({"steps/action/world_vector": [b"x"] * 3}, "'steps/action/world_vector' holds bytes"),
        ({"steps/observation/front_rgb": np.ones(3, np.float32)}, "holds numbers, image"),
        ({"steps/action/world_vector": np.zeros(0, np.float32)}, "is empty"),
        ({"steps/action/world_vector": np.zeros(8, np.float32)}, "holds 8 numbers"),
        ({"steps/action/world_vector": np.full(9, np.nan, np.float32)}, "'dx' is nan"),
        (
            {"steps/action/gripper_closedness_action": np.full(3, np.nan, np.float32)},
            "'action/gripper_closedness_action' holds NaN",
        ),
        ({"steps/observation/natural_language_instruction": [b"\xff"] * 3}, "not UTF-8"),
        ({"steps/observation/front_rgb": [b"?"] * 3}, "camera 'front', step 0"),
        ({"steps/observation/front_rgb": [b"?"] * 2}, "different lengths"),
    ],
)
def test_content_that_does_not_fit_costs_one_record(tmp_path, maker, change, words):
    bad = {k: v for k, v in (maker.episode(RECIPE, 3) | change).items() if v is not None}
    good = maker.episode(RECIPE, 2)
    folder = maker.write(tmp_path / "toy", RECIPE, [[bad, good], [good]])
    lengths, (skipped,) = _convert(folder, tmp_path)
    assert lengths == [2, 2]
    assert words in skipped["reason"]
    assert "record 0" in skipped["episode"]


def test_without_skipping_the_first_damage_ends_it(folder, tmp_path):
    _flip(folder / SECOND, 30)
    source = OpenXConfig(dataset=NAME, path=str(folder)).build()
    with pytest.raises(DataError, match=f"{SECOND}, record 0"):
        convert(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_fields_that_nobody_reads_are_not_decoded(tmp_path, maker):
    """Ragged fields and pictures in numbers would cost more than all else."""
    content = maker.episode(RECIPE, 3) | {"steps/is_first/ragged_row_lengths_0": [b"?"] * 9}
    folder = maker.write(tmp_path / "toy", RECIPE, [[content]])
    (pending,) = OpenXConfig(dataset=NAME, path=str(folder)).build()
    assert len(pending.read()) == 3


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_content_ends_in_anything_but_our_errors(maker, tmp_path_factory, data):
    """Bytes that a wrong writer, not the disk, has spoiled: the checksums are right."""
    folder = tmp_path_factory.mktemp("spoiled") / "toy"
    maker.write(folder, RECIPES["kuka"], [[maker.episode(RECIPES["kuka"], 2)]])
    (path,) = folder.glob("*.tfrecord*")
    content = bytearray(path.read_bytes()[12:-4])
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=3)):
        content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(maker.frame(bytes(content)))
    (pending,) = OpenXConfig(dataset="kuka", path=str(folder)).build()
    with suppress(VlaError):
        assert len(pending.read()) == 2


def test_other_file_formats_are_refused(folder):
    info = json.loads((folder / "dataset_info.json").read_text())
    (folder / "dataset_info.json").write_text(json.dumps(info | {"fileFormat": "array_record"}))
    with pytest.raises(DataError, match="'array_record' files"):
        OpenXConfig(dataset=NAME, path=str(folder)).build()
