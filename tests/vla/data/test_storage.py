import os
import resource

import pytest

from vla.data.storage import LocalStorage, open_storage
from vla.errors import DataError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a").mkdir()
    for number in range(20):
        (tmp_path / "a" / str(number)).write_bytes(bytes(range(number, number + 10)))
    return tmp_path


def test_parts_of_files(folder):
    storage = open_storage(folder)
    assert storage.read("a/3", 2, 4) == bytes([5, 6, 7, 8])
    assert storage.read_ranges("a/0", [(8, 2), (0, 1), (0, 1)]) == [b"\x08\x09", b"\0", b"\0"]
    assert storage.read_all("a/1") == bytes(range(1, 11))
    assert (storage.size("a/1"), str(storage)) == (10, str(folder))


def test_what_cannot_be_read_is_named(folder):
    storage = LocalStorage(folder)
    for read in (storage.read_all, storage.size, lambda name: storage.read(name, 0, 1)):
        with pytest.raises(DataError, match=r"a/none.*open it anew.*copy it anew"):
            read("a/none")
    with pytest.raises(DataError, match=r"a/0 ends early: 5 bytes wanted at 8"):
        storage.read("a/0", 8, 5)


def test_descriptors_are_few_and_closed(folder, monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (16, 16))
    before = len(os.listdir("/proc/self/fd"))
    storage = LocalStorage(folder)
    for _ in range(2):
        for number in range(20):
            assert storage.read(f"a/{number}", 0, 1) == bytes([number])
    assert len(os.listdir("/proc/self/fd")) == before + 8
    del storage
    assert len(os.listdir("/proc/self/fd")) == before
