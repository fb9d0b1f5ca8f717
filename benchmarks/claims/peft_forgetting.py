"""How much of task A is forgotten while task B is learned: full fine-tuning against adapters.

    python benchmarks/claims/peft_forgetting.py [--quick] [--seeds 3] [--output FILE]

A small policy learns to say where the red square is (A, "reach the red square") in pictures with
a red and a blue one. From these weights it goes on with the blue square only (B), with all
weights or with adapters in backbone and head. Errors are mean absolute ones on pictures never
trained on, as a fraction of those of the best constant answer: 1 is knowing nothing.

Expected before the first run: every kind of adapters forgets less of A than full fine-tuning
(backward transfer nearer to 0) and learns B less well or as well. Learning rates were set
beforehand: that of full fine-tuning is the base's, adapters' are ten times as high (svfit's, nola's
and vera's thirty times). `--rates 0.1` learns with a tenth of the adapters' rates: the base's
own, and three times it. What is not shown: closed-loop success, large models.
"""

import argparse
import copy
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from policies.backbones.config import TinyConfig
from policies.config import VlaPolicyConfig
from policies.heads.config import RegressionConfig
from policies.peft.config import AdapterConfig, LoraConfig
from policies.peft.config_library import RandloraConfig, VeraConfig
from policies.peft.config_own import NolaConfig, SelectiveConfig, SvfitConfig
from policies.vla_policy import VlaPolicy
from vla.data.batch import Batch
from vla.data.stats import Statistics, VectorStatistics
from vla.embodiment import Axis, Camera, Embodiment
from vla.files import write_json
from vla.training.config import TrainingConfig
from vla.training.deployed import CheckpointMeta, write_weights
from vla.training.distributed import SingleProcess
from vla.training.learner import Learner
from vla.training.weights import module_tensors

console = Console(width=120)
SIDE, HORIZON, SQUARE = 32, 2, 5
COLOURS = {"red": (220, 40, 40), "blue": (40, 40, 220)}
BODY = Embodiment(
    name="pointer",
    state=(Axis(name="bias", unit="m", low=-1, high=1),),
    action=tuple(Axis(name=name, unit="m", low=-1, high=1) for name in ("x", "y")),
    cameras={"front": Camera(height=SIDE, width=SIDE)},
    hz=10.0,
)
BASE_RATE = 1e-3
BOTH = {"parts": ["backbone", "head"]}
METHODS: dict[str, tuple[AdapterConfig | None, float]] = {
    "full": (None, BASE_RATE),
    "lora, rank 8": (LoraConfig(**BOTH, rank=8), 10 * BASE_RATE),
    "selective, rank 8": (
        SelectiveConfig(**BOTH, rank=8, threshold=5e-3, dense_steps=50),
        10 * BASE_RATE,
    ),
    "randlora, rank 8": (RandloraConfig(**BOTH, rank=8), 10 * BASE_RATE),
    "vera, rank 64": (VeraConfig(**BOTH, rank=64), 30 * BASE_RATE),
    "nola, rank 4": (NolaConfig(**BOTH, rank=4, alpha=4.0), 30 * BASE_RATE),
    "svfit, rank 32": (SvfitConfig(**BOTH, rank=32), 30 * BASE_RATE),
}


def statistics() -> Statistics:
    """Of actions spread evenly over [-1, 1]."""

    def spread(axes: tuple[Axis, ...]) -> VectorStatistics:
        zero, one = np.zeros(len(axes)), np.ones(len(axes))
        return VectorStatistics(
            names=tuple(axis.name for axis in axes), mean=zero, std=0.58 * one, min=-one,
            max=one, q01=-one, q99=one, count=100,
        )  # fmt: skip

    return Statistics(state=spread(BODY.state), action=spread(BODY.action), source="made up")


def draw(colour: str, size: int, seed: int) -> Batch:
    """Pictures of a red and a blue square, and where the square of `colour` is."""
    rng = np.random.default_rng(seed)
    images = rng.integers(90, 130, (size, 1, SIDE, SIDE, 3)).astype(np.uint8)
    targets = np.zeros((size, 2), np.float32)
    for image, target in zip(images, targets, strict=True):
        for name in sorted(COLOURS, key=lambda name: name == colour):  # the target on top
            row, column = rng.integers(0, SIDE - SQUARE, 2)
            image[0, row : row + SQUARE, column : column + SQUARE] = COLOURS[name]
        target[:] = [column, row]
    targets = targets / (SIDE - SQUARE - 1) * 1.8 - 0.9
    points = torch.from_numpy(targets)
    return Batch(
        images={"front": torch.from_numpy(images)},
        state=torch.zeros(size, 1, 1),
        instruction=[f"reach the {colour} square"] * size,
        actions=points[:, None].repeat(1, HORIZON, 1),
        mask=torch.ones(size, HORIZON, 2),
        labels={},
    )


def build(seed: int) -> VlaPolicy:
    """An untrained policy of 0.42 M weights."""
    torch.manual_seed(seed)
    backbone = TinyConfig(
        width=64, layers=1, attention_heads=2, channels=16, blocks=2, grid=16, keypoints=16,
        labels=[],
    )  # fmt: skip
    config = VlaPolicyConfig(
        horizon=HORIZON, backbone=backbone, head=RegressionConfig(width=64, layers=1)
    )
    return VlaPolicy(config, BODY, statistics())


def train(policy: VlaPolicy, colour: str, *, steps: int, rate: float, seed: int) -> None:
    """Train on pictures of one colour, every one of them new."""
    config = TrainingConfig(
        steps=steps, warmup_steps=steps // 20 + 1, learning_rate=rate, ema_decay=0.0, seed=seed
    )
    with tempfile.TemporaryDirectory() as folder:
        learner = Learner(policy, config, folder=Path(folder), team=SingleProcess())
        for step in range(1, steps + 1):
            learner.update(step, iter([draw(colour, 32, seed=1_000_000 * (seed + 1) + step)]))
    policy.eval()


@torch.no_grad()
def measure(policy: VlaPolicy) -> dict[str, float]:
    """Error on held-out pictures per task, as a fraction of that of the best constant."""
    errors = {}
    for task, colour in (("A", "red"), ("B", "blue")):
        batch = draw(colour, 256, seed=7)
        state = policy.state_normalizer(batch.state)
        context = policy.backbone.encode(batch.images, batch.instruction, state)
        noise = torch.zeros(len(batch), HORIZON, 2)
        plan = policy.action_normalizer.inverse(policy.head.sample(context, None, noise))
        truth = batch.actions
        constant = (truth - truth.flatten(0, 1).median(dim=0).values).abs().mean()
        errors[task] = float((plan - truth).abs().mean() / constant)
    return errors


def tune(
    base: VlaPolicy, folder: Path, method: str, *, steps: int, seed: int, rates: float
) -> dict[str, float]:
    """Learn B from the base, saved in `folder`; the errors on both tasks and what was trained."""
    config, rate = METHODS[method]
    torch.manual_seed(seed)
    if config is None:
        policy = copy.deepcopy(base)
    else:
        adapters = replace(config, base=str(folder), save="adapters")
        policy = VlaPolicy(replace(base.config, peft=adapters), BODY, statistics())
    trained = sum(p.numel() for p in policy.parameters() if p.requires_grad)
    rate *= rates if config else 1.0
    train(policy, "blue", steps=steps, rate=rate, seed=seed + 100)
    return {**measure(policy), "trained": trained}


def run(seed: int, *, first: int, second: int, rates: float) -> dict[str, dict[str, float]]:
    """The rows of one seed's matrix: after A, and after B by each method."""
    base = build(seed)
    train(base, "red", steps=first, rate=BASE_RATE, seed=seed)
    rows = {"after A": measure(base)}
    console.print(f"seed {seed}: after A {rows['after A']}")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "base"
        meta = CheckpointMeta(config_yaml="", contract={})
        write_weights(folder, step=first, meta=meta, weights=module_tensors(base))
        for method in METHODS:
            rows[method] = tune(base, folder, method, steps=second, seed=seed, rates=rates)
            console.print(f"seed {seed}: {method} {rows[method]}")
    return rows


def summarise(seeds: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, object]]:
    """Per method: mean errors, backward transfer on A (0: nothing forgotten) and its range."""
    table: dict[str, dict[str, object]] = {}
    for method in METHODS:
        transfer = [rows["after A"]["A"] - rows[method]["A"] for rows in seeds]
        against = [rows["full"]["A"] - rows[method]["A"] for rows in seeds]
        table[method] = {
            "trained": int(seeds[0][method]["trained"]),
            "error_A": round(float(np.mean([rows[method]["A"] for rows in seeds])), 4),
            "error_B": round(float(np.mean([rows[method]["B"] for rows in seeds])), 4),
            "backward_transfer": round(float(np.mean(transfer)), 4),
            "backward_transfer_seeds": [round(value, 4) for value in transfer],
            "forgets_less_than_full_on": f"{sum(x > 0 for x in against)}/{len(seeds)} seeds",
        }
    return table


def main() -> None:
    """Print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="seconds; shows that it runs")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rates", type=float, default=1.0, help="times the adapters' rates")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    name = ".json" if arguments.rates == 1 else f"_{arguments.rates:g}.json"
    output = arguments.output or Path(__file__).with_name(Path(__file__).stem + name)
    first, second, count = (3, 3, 1) if arguments.quick else (250, 100, arguments.seeds)
    began, seeds = time.process_time(), []
    for seed in range(count):
        seeds.append(run(seed, first=first, second=second, rates=arguments.rates))
        after = {
            task: round(float(np.mean([rows["after A"][task] for rows in seeds])), 4)
            for task in "AB"
        }
        result = {
            "first_steps": first,
            "second_steps": second,
            "batch": 32,
            "adapter_rates": arguments.rates,
            "after_A": after,
            "methods": summarise(seeds),
            "cpu_seconds": round(time.process_time() - began),
            "seeds": seeds,
        }
        if not arguments.quick:
            write_json(output, result)
    console.print_json(data=result["methods"])


if __name__ == "__main__":
    main()
