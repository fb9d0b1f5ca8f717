"""Learning, accumulation, augmentation, metrics."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from tests.vla.training.toys import ToyLoader, ToyPolicy, toy_config, toy_train
from vla.errors import TrainingError
from vla.training.checkpoint import load_training
from vla.training.distributed import SingleProcess
from vla.training.learner import seed_step


class Plain(ToyPolicy):
    """Without noise and dropout, so that only the data decide."""

    def loss(self, batch, *, generator):
        return (self.head(self.backbone[0](batch.state)) - batch.actions).square().mean(), {}


def lines(directory) -> list[dict]:
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def test_it_learns(tmp_path):
    config = toy_config(steps=300, log_every=50, checkpoint_every=0, eval_every=100)
    result = toy_train(tmp_path, config=config, loader=ToyLoader(size=32))
    held_out = [line["validation/loss"] for line in lines(tmp_path) if "validation/loss" in line]
    assert held_out[-1] < 0.5 * 0.43, "predicting zero scores 0.43, the variance of sin of a normal"
    assert result.best is not None
    assert result.best.score == pytest.approx(min(held_out))


def test_metrics_hold_parts_rates_and_times(tmp_path):
    toy_train(tmp_path, config=toy_config(log_every=5), loader=ToyLoader(pause=0.01))
    train = [line for line in lines(tmp_path) if "train/loss" in line]
    assert [line["step"] for line in train] == [5, 10, 12]
    first = train[0]
    assert first["train/loss"] == pytest.approx(
        first["train/action"] + 0.01 * first["train/words"], rel=1e-5
    )
    assert first["seconds_loader"] >= 0.01
    seconds = first["seconds_loader"] + first["seconds_compute"]
    assert first["samples_per_second"] == pytest.approx(4 / seconds)
    assert {"learning_rate", "gradient_norm"} <= first.keys()


def test_micro_batches_average_to_one_large_batch(tmp_path):
    """Two micro-batches of 4 make the update of one batch of 8."""

    class Pairs(ToyLoader):
        def batch(self, step):
            left, right = super().batch(2 * step), super().batch(2 * step + 1)
            return type(left)(
                {}, torch.cat([left.state, right.state]), torch.cat([left.actions, right.actions]),
                left.instruction + right.instruction,
            )  # fmt: skip

    small, large = Plain(), Plain()
    loader = ToyLoader()
    toy_train(tmp_path / "a", policy=small, config=toy_config(accumulate=2), loader=loader)
    toy_train(tmp_path / "b", policy=large, config=toy_config(), loader=Pairs())
    assert loader.read == list(range(24))
    torch.testing.assert_close(small.head.weight, large.head.weight, atol=1e-5, rtol=1e-4)


def test_clipping_bounds_the_gradient_but_reports_the_full_norm(tmp_path):
    class Steep(ToyPolicy):
        def loss(self, batch, *, generator):
            return 1000 * self.head.weight.sum(), {}

    result = toy_train(tmp_path, policy=Steep(), config=toy_config(clip_norm=0.5, steps=4))
    assert lines(tmp_path)[0]["gradient_norm"] == pytest.approx(1000 * 24**0.5, rel=1e-5)
    # The gradient is constant, so after 4 steps the first moment is (1 - 0.9**4) of it.
    moment = load_training(result.latest).optimizer["head.weight/exp_avg"]
    assert moment.norm().item() == pytest.approx((1 - 0.9**4) * 0.5, rel=1e-4)


def test_augmentation_is_seeded_by_the_step(tmp_path):
    draws: list[float] = []

    def augment(batch, generator):
        draws.append(torch.rand((), generator=generator).item())
        return batch

    toy_train(tmp_path / "a", augment=augment)
    toy_train(tmp_path / "b", augment=augment)
    assert draws[:12] == draws[12:]
    assert len(set(draws)) == 12


def test_seeds_differ_in_every_coordinate():
    device = torch.device("cpu")
    base = (0, 1, 0, 0)
    places = [base] + [tuple(v + (i == j) for j, v in enumerate(base)) for i in range(4)]
    draws = {torch.rand((), generator=seed_step(*place, device)).item() for place in places}
    assert len(draws) == len(places)


def test_validation_without_loss_is_an_error(tmp_path):
    with pytest.raises(TrainingError, match="'loss'"):
        toy_train(tmp_path, validation=lambda policy: {"success": 1.0})


def test_non_finite_validation_is_never_best(tmp_path):
    result = toy_train(tmp_path, validation=lambda policy: {"loss": float("nan")})
    assert result.best is None
    assert [line["validation/loss"] for line in lines(tmp_path) if "validation/loss" in line] == [
        None
    ] * 3


def test_other_ranks_write_nothing_but_train_the_same_way(tmp_path):
    class Second(SingleProcess):
        rank, size = 1, 2

    toy_train(tmp_path, config=toy_config(steps=6))
    before = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*"))
    result = toy_train(tmp_path, config=toy_config(steps=8), team=Second(), resume=True)
    assert result.step == 8
    assert sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*")) == before


class ThreadTeam:
    """Two ranks in two threads, meeting at a barrier."""

    size = 2

    def __init__(self, rank: int, barrier: threading.Barrier, board: dict):
        self.rank, self.barrier, self.board = rank, barrier, board

    def _share(self, value) -> list:
        self.board[self.rank] = value
        self.barrier.wait(30)
        values = [self.board[0], self.board[1]]
        self.barrier.wait(30)
        return values

    def average(self, tensors) -> None:
        left, right = self._share([tensor.clone() for tensor in tensors])
        for tensor, a, b in zip(tensors, left, right, strict=True):
            tensor.copy_((a + b) / 2)

    def agree(self, text: str) -> str:
        return next(filter(None, self._share(text)), "")


def test_two_ranks_make_the_update_of_two_micro_batches(tmp_path):
    class Half(ToyLoader):
        def batch(self, step):
            return super().batch(2 * step + self.rank)

    barrier, board, policies = threading.Barrier(2), {}, [Plain(), Plain()]

    def work(rank: int) -> None:
        loader = Half()
        loader.rank = rank
        team = ThreadTeam(rank, barrier, board)
        toy_train(tmp_path / "team", policy=policies[rank], loader=loader, team=team)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, range(2)))
    alone = Plain()
    toy_train(tmp_path / "alone", policy=alone, config=toy_config(accumulate=2))
    assert torch.equal(policies[0].head.weight, policies[1].head.weight)
    torch.testing.assert_close(policies[0].head.weight, alone.head.weight, atol=1e-5, rtol=1e-4)
