import pytest
import torch

from policies.heads.tokenizers.vq import ResidualQuantizer, fit_quantizer, focal_loss

CLUSTERS = 8


def make_chunks(count=512, seed=0):
    """A few kinds of chunk, with a little noise."""
    generator = torch.Generator().manual_seed(seed)
    kinds = torch.randn(CLUSTERS, 4, 2, generator=torch.Generator().manual_seed(9))
    picked = torch.randint(CLUSTERS, (count,), generator=generator)
    return kinds[picked] + 0.02 * torch.randn(count, 4, 2, generator=generator), picked


@pytest.fixture(scope="module")
def fitted():
    torch.set_num_threads(1)
    return fit_quantizer(make_chunks()[0], steps=400, width=64, latent=8, levels=3, codes=8)


def test_each_level_tells_more(fitted):
    """What is left falls from level to level, and the whole is close."""
    chunks, _ = make_chunks(seed=1)
    with torch.no_grad():
        z = fitted.encode_latent(chunks)
        codes = fitted.pick(z)
        left = [z.square().sum()]
        for level in range(1, 4):
            left.append((z - fitted.look_up(codes[:, :level])).square().sum())
    assert left[0] > 2 * left[1]
    assert left[1] > left[2]
    assert left[2] > left[3]
    back = fitted.decode(fitted.encode(chunks), horizon=4, axes=2)
    assert back.valid.all()
    assert (back.actions - chunks).abs().mean() < 0.15 * chunks.abs().mean()


def test_codes_tell_kinds_apart(fitted):
    chunks, kinds = make_chunks(seed=2)
    spelled = torch.tensor(fitted.encode(chunks))
    for first in range(CLUSTERS):
        for second in range(first):
            mine, other = spelled[kinds == first], spelled[kinds == second]
            assert mine.mode(dim=0).values.tolist() != other.mode(dim=0).values.tolist()


def test_flawed_sequences_are_read_up_to_the_flaw(fitted):
    (good,) = fitted.encode(make_chunks(1)[0])
    bad = [good, [*good[:1], 10**6, good[2]], good[:2], [*good, 0], [-1], []]
    decoded = fitted.decode(bad, horizon=4, axes=2)
    assert decoded.valid.tolist() == [True, False, False, False, False, False]
    assert decoded.actions.isfinite().all()
    torch.testing.assert_close(decoded.actions[3], decoded.actions[0])
    torch.testing.assert_close(decoded.actions[4], decoded.actions[5])
    with pytest.raises(ValueError, match=r"\(4, 2\)"):
        fitted.decode([good], horizon=5, axes=2)


def test_idle_codes_are_revived():
    torch.manual_seed(0)
    quantizer = ResidualQuantizer(horizon=4, axes=2, width=16, latent=4, levels=1, codes=8)
    chunks, _ = make_chunks(seed=3)
    with torch.no_grad():
        quantizer.books[:, 1:] = 100.0
    used = len(torch.tensor(quantizer.encode(chunks)).unique())
    moved = quantizer.revive(chunks, generator=torch.Generator().manual_seed(0))
    assert used == 1
    assert moved == 7
    assert len(torch.tensor(quantizer.encode(chunks)).unique()) > 3


def test_gradients_pass_the_choice():
    torch.manual_seed(0)
    quantizer = ResidualQuantizer(horizon=4, axes=2, width=16, latent=4, levels=2, codes=8)
    chunks, _ = make_chunks(64)
    loss, codes = quantizer.loss(chunks, torch.ones_like(chunks))
    loss.sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in quantizer.parameters())
    idle = torch.ones(8, dtype=torch.bool)
    idle[codes[:, 0]] = False
    assert not quantizer.books.grad[0, idle].any()


def test_focal_loss_weighs_sure_answers_less():
    codes = torch.zeros(1, 1, dtype=torch.long)
    unsure, sure = torch.zeros(1, 1, 2), torch.tensor([[[3.0, 0.0]]])
    torch.testing.assert_close(
        focal_loss(unsure, codes).item(), 0.25 * 0.6931472, rtol=1e-5, atol=0
    )
    plain = torch.nn.functional.cross_entropy(sure[0], codes[0]).item()
    assert focal_loss(sure, codes).item() < 0.01 * plain
