import torch
from hypothesis import given
from hypothesis import strategies as st

from policies.backbones.tokenizer import hash_words, split_words

# What robots get to hear; 20 bits per word must keep them apart.
WORDS = """
put place move push pull lift pick take drop reach touch open close turn stack slide the a an
red green blue yellow purple orange white black brown pink grey cyan big small left right up
down cube block ball box cup mug bowl plate drawer door button switch lever target goal area
square circle on in into onto to from of under over above below behind near next between and
then with without top bottom front back middle corner edge arm hand gripper object thing it
"""


def test_words_and_marks():
    assert split_words("Put the RED cube, please_now!") == [
        "put", "the", "red", "cube", ",", "please", "now", "!",
    ]  # fmt: skip


def test_common_words_differ():
    ids, mask = hash_words([WORDS], words=200, buckets=1024)
    assert len({tuple(pair) for pair in ids[mask].tolist()}) == len(set(WORDS.split()))


def test_numbers_never_change():
    """They are part of every checkpoint's meaning."""
    ids, mask = hash_words(["red cube"], words=3, buckets=1024)
    assert ids[0].tolist() == [[911, 87], [440, 940], [0, 0]]
    assert mask[0].tolist() == [True, True, False]


def test_long_texts_are_cut_and_empty_ones_are_not_empty():
    ids, mask = hash_words(["one two three four", ""], words=2, buckets=64)
    assert ids.shape == (2, 2, 2)
    assert mask.tolist() == [[True, True], [True, False]]


@given(st.lists(st.text(max_size=40), min_size=1, max_size=4), st.integers(1, 2048))
def test_any_text_gives_numbers_in_range(texts, buckets):
    ids, mask = hash_words(texts, words=8, buckets=buckets)
    assert ids.dtype == torch.int64
    assert ids.min() >= 0
    assert ids.max() < buckets
    assert mask[:, 0].all()
