"""One pass instead of one per word: OpenVLA-OFT's parallel head against OpenVLA's words.

Both stand on an untrained language model of one size: time does not depend on what the weights
say. Passes are counted where the decoder is called. That a causal mask, the control, would keep
rows from being planned as a whole is tested in tests/policies/heads/test_parallel.py.
"""

import time

import numpy as np
import torch
from study import Study

from policies.backbones.language_config import PrismaticConfig
from policies.config import VlaPolicyConfig
from policies.heads.config_language import ParallelConfig, WordsConfig
from vla.embodiment import Axis, Camera, Embodiment
from vla.types import Observation

AXES = 7
BODY = Embodiment(
    name="arm",
    state=(Axis(name="joint", unit="rad", low=-3, high=3),),
    action=tuple(Axis(name=f"a{i}", unit="1", low=-1, high=1) for i in range(AXES)),
    cameras={"front": Camera(height=64, width=64)},
    hz=10.0,
)


def make(kind: str, horizon: int, seed: int):
    torch.manual_seed(seed)
    oft = {"attention": "bidirectional", "readout": "zero"} if kind == "parallel" else {}
    config = VlaPolicyConfig(
        horizon=horizon,
        backbone=PrismaticConfig(**oft),
        head=ParallelConfig() if kind == "parallel" else WordsConfig(),
    )
    policy = config.build(BODY, None).eval()
    for normalizer in (policy.state_normalizer, policy.action_normalizer):
        normalizer.pass_through()
    return policy


def measure(kind: str, horizon: int, seed: int, calls: int) -> dict:
    policy, passes, times = make(kind, horizon, seed), [0], []
    policy.backbone.decoder.register_forward_hook(lambda *_: passes.__setitem__(0, passes[0] + 1))
    rng = np.random.default_rng(seed)
    seen = Observation(
        images={"front": rng.integers(0, 256, (1, 64, 64, 3), np.uint8)},
        state=np.zeros((1, 1), np.float32), instruction="take the cup", time=0.0,
    )  # fmt: skip
    policy.act([seen], seeds=[0])
    before = passes[0]
    for call in range(calls):
        began = time.perf_counter()
        policy.act([seen], seeds=[call])
        times.append(1000 * (time.perf_counter() - began))
    return {
        "head": kind, "horizon": horizon, "seed": seed,
        "passes": (passes[0] - before) / calls, "ms": [round(t, 2) for t in times],
        "language_weights": sum(p.numel() for p in policy.backbone.decoder.parameters()),
    }  # fmt: skip


def main() -> None:
    study = Study.begin(
        "parallel_decoding",
        claim="Parallel decoding needs one pass of the language model where words need one each "
        "(OpenVLA-OFT, arXiv 2502.19645).",
        rule=f"1 pass at every horizon H against at least {AXES} * H - 1 behind the prompt, and "
        "the median plan of 8 rows at least 5 times as fast, for every seed.",
    )
    calls = 1 if study.quick else 5
    outcomes = [
        measure(kind, horizon, seed, calls)
        for kind in ("words", "parallel")
        for horizon in (1, 8)
        for seed in study.seeds
    ]
    figures, ratios = {}, []
    for kind in ("words", "parallel"):
        for horizon in (1, 8):
            chosen = [o for o in outcomes if (o["head"], o["horizon"]) == (kind, horizon)]
            figures[f"{kind}_{horizon}"] = {
                "passes": chosen[0]["passes"],
                "median_ms": round(float(np.median([t for o in chosen for t in o["ms"]])), 1),
            }
    medians = {(o["head"], o["horizon"], o["seed"]): np.median(o["ms"]) for o in outcomes}
    ratios = [medians["words", 8, s] / medians["parallel", 8, s] for s in study.seeds]
    figures["speed_ratio_8"] = {"least": round(float(min(ratios)), 1)}
    counted = all(
        o["passes"] == 1 if o["head"] == "parallel" else o["passes"] >= AXES * o["horizon"] - 1
        for o in outcomes
    )
    study.conclude(shown=counted and min(ratios) >= 5, figures=figures, outcomes=outcomes)


if __name__ == "__main__":
    main()
