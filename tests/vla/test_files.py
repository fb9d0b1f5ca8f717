import json

import pytest

from vla.files import complete_folder, remove_unfinished, write_bytes, write_json


def test_json_is_replaced_whole_and_refuses_nan(tmp_path):
    path = tmp_path / "deep" / "value.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": 1}
    write_bytes(path, b"new")
    assert path.read_bytes() == b"new"
    assert [entry.name for entry in path.parent.iterdir()] == ["value.json"]


def test_a_folder_appears_complete_or_not_at_all(tmp_path):
    def fail():
        with complete_folder(tmp_path / "made") as draft:
            (draft / "half").write_text("x")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert list(tmp_path.iterdir()) == []
    with complete_folder(tmp_path / "made") as draft:
        (draft / "whole").write_text("x")
        assert not (tmp_path / "made").exists()
    assert (tmp_path / "made" / "whole").read_text() == "x"


def test_leftovers_of_a_killed_writer_are_removed(tmp_path):
    (tmp_path / ".unfinished-1-step").mkdir()
    (tmp_path / "kept").mkdir()
    remove_unfinished(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["kept"]
