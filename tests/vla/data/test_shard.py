import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla.data.shard import Shard, pack_shard, unpack_shard
from vla.errors import DataError


class Memory:
    """A storage of one file."""

    def __init__(self, content):
        self.content = content

    def read(self, name, offset, count):
        return self.content[offset : offset + count]

    def read_ranges(self, name, ranges):
        return [self.read(name, offset, count) for offset, count in ranges]

    def read_all(self, name):
        return self.content

    def size(self, name):
        return len(self.content)


PAYLOADS = st.lists(st.binary(max_size=20), min_size=1, max_size=8)


@given(PAYLOADS, st.data())
def test_what_goes_in_comes_out(payloads, data):
    content = b"".join(pack_shard(payloads))
    assert unpack_shard(content, len(payloads), "x") == payloads
    places = data.draw(st.lists(st.integers(0, len(payloads) - 1)))
    shard = Shard(Memory(content), "x", len(payloads))
    assert shard.read(np.array(places, np.int64)) == [payloads[place] for place in places]


@given(PAYLOADS, st.data())
def test_any_damage_to_the_index_is_noticed(payloads, data):
    content = bytearray(b"".join(pack_shard(payloads)))
    index = len(payloads) * 16 + 4
    content[-data.draw(st.integers(1, index))] ^= data.draw(st.integers(1, 255))
    for read in (
        lambda: unpack_shard(bytes(content), len(payloads), "film"),
        lambda: Shard(Memory(bytes(content)), "film", len(payloads)),
    ):
        with pytest.raises(DataError, match="film"):
            read()


@given(PAYLOADS, st.data())
def test_a_file_cut_short_or_of_another_length_is_noticed(payloads, data):
    content = b"".join(pack_shard(payloads))
    short = content[: data.draw(st.integers(0, len(content) - 1))]
    with pytest.raises(DataError):
        Shard(Memory(short), "film", len(payloads))
    with pytest.raises(DataError):
        unpack_shard(content, len(payloads) + 1, "film")
