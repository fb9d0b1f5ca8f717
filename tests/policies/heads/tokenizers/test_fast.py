import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.fft import dct, idct
from transformers import PreTrainedTokenizerFast

from policies.heads.tokenizers.bins import UniformBins
from policies.heads.tokenizers.fast import FastTokenizer, cosines, quantize
from vla.errors import CheckpointError, ConfigError, DataError

ROWS, AXES = 50, 7


def smooth(count, seed=0):
    """Chunks as of a 50 Hz arm: a second of slow sines within [-1, 1]."""
    rng = np.random.default_rng(seed)
    time = np.arange(ROWS)[None, :, None] / 50
    hertz, phase = rng.uniform(0, 1, (2, count, 1, AXES))
    chunks = rng.uniform(0.2, 1, (count, 1, AXES)) * np.sin(2 * np.pi * (hertz * time + phase))
    return torch.from_numpy(chunks.astype(np.float32))


@pytest.fixture(scope="module")
def tokenizer():
    return FastTokenizer.fit(smooth(600), vocabulary=1024)


def test_words_are_those_of_the_published_algorithm(tokenizer, tmp_path):
    """Its encoder and decoder, written from the description with SciPy, on the same words."""
    tokenizer.save(tmp_path / "t")
    settings = json.loads((tmp_path / "t" / "processor_config.json").read_text())
    scale, least = settings["scale"], settings["min_token"]
    words = PreTrainedTokenizerFast(
        tokenizer_file=str(tmp_path / "t" / "tokenizer.json"), clean_up_tokenization_spaces=False
    )
    chunks = smooth(40, seed=1)
    expected = []
    for chunk in np.around(dct(chunks.numpy(), axis=1, norm="ortho") * scale):
        shifted = np.maximum(chunk.flatten() - least, 0).astype(int)
        expected.append(words("".join(chr(number) for number in shifted))["input_ids"])
    assert tokenizer.encode(chunks) == expected
    decoded = tokenizer.decode(expected, horizon=ROWS, axes=AXES)
    assert decoded.valid.all()
    for ids, mine in zip(expected, decoded.actions, strict=True):
        numbers = np.array([ord(character) for character in words.decode(ids)]) + least
        theirs = idct(numbers.reshape(ROWS, AXES) / scale, axis=0, norm="ortho")
        np.testing.assert_allclose(mine, theirs, atol=1e-5)


def test_smooth_chunks_take_few_words(tokenizer):
    """At least three times fewer than one per scalar.

    Noise has no frequencies to leave out; what it gains is the coarser rounding, which pairs of
    characters pay out.
    """
    chunks = smooth(100, seed=2)
    scalars = len(UniformBins().encode(chunks)[0])
    words = np.mean([len(sequence) for sequence in tokenizer.encode(chunks)])
    assert words * 3 < scalars
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(400, ROWS, AXES, generator=generator).clamp(-1, 1)
    fitted = FastTokenizer.fit(noise[:300], vocabulary=1024)
    of_noise = np.mean([len(sequence) for sequence in fitted.encode(noise[300:])])
    assert of_noise * 2 > scalars


def test_each_coefficient_is_off_by_half_a_step_at_most(tokenizer):
    chunks = smooth(100, seed=3)
    back = tokenizer.decode(tokenizer.encode(chunks), horizon=ROWS, axes=AXES).actions
    error = dct((back - chunks).numpy(), axis=1, norm="ortho")
    assert np.abs(error).max() <= 1 / (2 * tokenizer.scale) + 1e-5


@given(rows=st.integers(1, 64))
def test_cosines_are_orthonormal(rows):
    waves = cosines(rows)
    np.testing.assert_allclose(waves @ waves.T, np.eye(rows), atol=1e-12)
    np.testing.assert_allclose(waves, dct(np.eye(rows), axis=0, norm="ortho"), atol=1e-12)


@settings(max_examples=50)
@given(data=st.lists(st.lists(st.integers(-5, 2000), max_size=400), max_size=3))
def test_any_sequence_decodes_to_finite_numbers(tokenizer, data):
    decoded = tokenizer.decode(data, horizon=ROWS, axes=AXES)
    assert decoded.actions.shape == (len(data), ROWS, AXES)
    assert decoded.actions.isfinite().all()


def test_flawed_sequences_are_read_up_to_the_flaw(tokenizer):
    chunks = smooth(1, seed=4)
    (whole,) = tokenizer.encode(chunks)
    short, foreign, wide = whole[: len(whole) // 2], [*whole, 5000], whole + whole
    decoded = tokenizer.decode([whole, short, foreign, wide, []], horizon=ROWS, axes=AXES)
    assert decoded.valid.tolist() == [True, False, False, False, False]
    assert not decoded.actions[4].any()
    # Half of the words are the low frequencies: a smoother chunk, not another one.
    assert (decoded.actions[1] - chunks[0]).abs().mean() < 0.3
    torch.testing.assert_close(decoded.actions[3], decoded.actions[0])


def test_chunks_of_other_sizes_and_beyond_what_was_seen(tokenizer):
    """The words are of coefficients, not of sizes; too small ones saturate."""
    other = smooth(5)[:, :20, :3]
    decoded = tokenizer.decode(tokenizer.encode(other), horizon=20, axes=3)
    assert decoded.valid.all()
    assert (decoded.actions - other).abs().max() < 0.4
    wild = torch.full((1, ROWS, AXES), 40.0)
    assert tokenizer.decode(tokenizer.encode(wild), horizon=ROWS, axes=AXES).valid.all()
    low = tokenizer.decode(tokenizer.encode(-wild), horizon=ROWS, axes=AXES).actions
    assert quantize(low, tokenizer.scale).min() == tokenizer.least


def test_a_published_tokenizer_that_lacks_words_says_so(tmp_path, tokenizer):
    """Words without some of the bytes, as the published fit makes them, lose characters."""
    tokenizer.save(tmp_path / "t")
    file = tmp_path / "t" / "tokenizer.json"
    content = json.loads(file.read_text())
    lost = content["model"]["vocab"].pop("!")
    content["model"]["vocab"]["\N{SNOWMAN}"] = lost
    content["model"]["merges"] = [m for m in content["model"]["merges"] if "!" not in "".join(m)]
    kept = {"".join(m) for m in content["model"]["merges"]} | {
        w for w in content["model"]["vocab"] if len(w) == 1
    }
    content["model"]["vocab"] = {w: i for w, i in content["model"]["vocab"].items() if w in kept}
    file.write_text(json.dumps(content))
    broken = FastTokenizer.load(tmp_path / "t")
    number = ord("!") + broken.least
    chunk = torch.from_numpy(idct(np.full((1, 4, 1), number / broken.scale), axis=1, norm="ortho"))
    with pytest.raises(DataError, match=rf"coefficients \[{number}\]"):
        broken.encode(chunk)


def test_folder_comes_back(tmp_path, tokenizer):
    tokenizer.save(tmp_path / "t")
    other = FastTokenizer.load(tmp_path / "t")
    chunks = smooth(10, seed=5)
    assert other.encode(chunks) == tokenizer.encode(chunks)
    mine = (tokenizer.scale, tokenizer.least, tokenizer.horizon, tokenizer.axes)
    assert (other.scale, other.least, other.horizon, other.axes) == mine


def test_the_public_one_names_no_sizes(tmp_path, tokenizer):
    tokenizer.save(tmp_path / "t")
    public = {"scale": 10, "vocab_size": 2048, "min_token": -354, "time_horizon": None}
    file = tmp_path / "t" / "processor_config.json"
    file.write_text(json.dumps({**public, "action_dim": None}))
    loaded = FastTokenizer.load(tmp_path / "t")
    assert (loaded.scale, loaded.least, loaded.horizon, loaded.axes) == (10.0, -354, 0, 0)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("processor_config.json", None),
        ("processor_config.json", "[]"),
        ("processor_config.json", '{"scale": 10}'),
        ("processor_config.json", '{"scale": 0, "min_token": 0}'),
        ("tokenizer.json", "nonsense"),
        ("tokenizer.json", '{"model": {"type": "WordPiece"}}'),
    ],
)
def test_other_folders_are_refused(tmp_path, tokenizer, name, content):
    tokenizer.save(tmp_path / "t")
    if content is None:
        (tmp_path / "t" / name).unlink()
    else:
        (tmp_path / "t" / name).write_text(content)
    with pytest.raises(CheckpointError, match="no FAST tokenizer"):
        FastTokenizer.load(tmp_path / "t")


def test_vocabulary_needs_room():
    with pytest.raises(ConfigError, match="no room"):
        FastTokenizer.fit(smooth(3), vocabulary=256)
