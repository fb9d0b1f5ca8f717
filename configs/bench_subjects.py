"""What `vla bench inference` measures: presets with random weights, and checkpoints."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from configs.bench_inference_job import STORED, BenchInferenceJob
from configs.launch import compose, list_choices
from configs.restoring import load_policy
from policies.quantize.config import RECIPES, RuntimeConfig
from vla.embodiment import Axis, Camera, Embodiment
from vla.errors import ConfigError, UnknownChoice
from vla.types import Observation

if TYPE_CHECKING:
    import torch
    from torch import nn


LEAST = 4096  # weights of a layer that is quantized; tiny presets have small ones


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """What is measured.

    Attributes:
        name: preset or folder.
        build: from "float32" or "bfloat16" to a fresh policy.
        parameters: how many.
        made_up: its weights are random, and may be LeRobot's too.
    """

    name: str
    build: Callable[[str], "nn.Module"]
    parameters: int
    made_up: bool


def open_preset(job: BenchInferenceJob, name: str, device: "torch.device") -> Subject:
    """A preset with random weights, for a body of our own making."""
    import torch

    from policies.inference.random_weights import build_random
    from policies.quantize.storage import unfilled

    known = list_choices("policy")
    if name not in known:
        raise UnknownChoice("policy", name, known)
    composed = compose("train", [f"policy={name}", *job.overrides.get(name, [])]).policy
    bare(composed)
    config = OmegaConf.to_object(composed)
    body = make_body(job, job.cameras.get(name, job.views))
    with unfilled():
        count = sum(weight.numel() for weight in config.build(body, None).parameters())

    def build(dtype: str) -> "nn.Module":
        return build_random(config, body, dtype=getattr(torch, dtype), device=device)

    return Subject(name=name, build=build, parameters=count, made_up=True)


def open_checkpoint_subject(path: str, device: "torch.device") -> Subject:
    """A checkpoint of ours, as it was trained. Raises ConfigError for one that cannot be timed."""
    from policies.inference.random_weights import store_wide
    from vla.training.checkpoint import open_checkpoint

    contract = open_checkpoint(path).contract
    if "embodiment" not in contract:
        raise ConfigError(f"{path} serves a family of bodies; give a policy of one body.")
    if "quantization" in contract:
        raise ConfigError(
            f"{path} is quantized already, and its runtime chosen; time it beside its float "
            "checkpoint with benchmarks/quantized.py, or give the float one with dtypes=[int8]."
        )
    body = Embodiment.from_json(contract["embodiment"])

    def build(dtype: str) -> "nn.Module":
        import torch

        policy, _ = load_policy(path, device=str(device), embodiment=body)
        if dtype != "float32":
            store_wide(policy, getattr(torch, dtype))
        return policy

    count = sum(weight.numel() for weight in build("float32").parameters())
    return Subject(name=path, build=build, parameters=count, made_up=False)


def bare(node: DictConfig) -> None:
    """Take the names of pretrained weights out of a policy's configuration: random ones it is."""
    for key, part in node.items():
        if isinstance(part, DictConfig):
            if key in ("backbone", "inner") and part.get("name"):
                part.name = ""
            if "dtype" in part:
                part.dtype = "float32"
            bare(part)


def convert(subject: Subject, dtype: str) -> "nn.Module":
    """A fresh policy in a format: built in it, or quantized from bfloat16 (int8: float32)."""
    from policies.quantize.quantizer import quantize

    if dtype in STORED:
        return subject.build(dtype)
    policy = subject.build("float32" if dtype == "int8" else "bfloat16")
    quantize(policy, RECIPES[dtype](least=LEAST), [])
    return policy


def deploy(policy: "nn.Module", dtype: str, mode: str) -> Any:
    """The policy as it would be run: compiled, or as it is, under autocast where it needs that."""
    from policies.backbones.language_backbone import LanguageBackbone
    from policies.compiled import CompiledPolicy

    stored = isinstance(getattr(policy, "inner", policy).backbone, LanguageBackbone)
    precision = "float32" if stored or dtype in ("float32", "int8") else "bfloat16"
    runtime = RuntimeConfig(precision=precision, compile="" if mode == "eager" else mode)
    return policy if runtime == RuntimeConfig() else CompiledPolicy(policy, runtime)


def observe(job: BenchInferenceJob, policy: Any) -> list[Observation]:
    """As many random observations as the largest batch has."""
    rng, body = np.random.default_rng(0), policy.embodiment
    return [
        Observation(
            images={
                name: rng.integers(0, 256, (policy.history, c.height, c.width, 3), dtype=np.uint8)
                for name, c in body.cameras.items()
            },
            state=rng.uniform(-1, 1, (policy.history, len(body.state))).astype(np.float32),
            instruction=job.instruction,
            time=0.0,
        )
        for _ in range(max(job.batches))
    ]


def make_body(job: BenchInferenceJob, cameras: int) -> Embodiment:
    """A body whose bounds cut nothing off, so that errors are not hidden."""
    height, width = job.image

    def axes(name: str) -> tuple[Axis, ...]:
        return tuple(
            Axis(name=f"{name}{k}", unit="rad", low=-1e3, high=1e3) for k in range(job.axes)
        )

    return Embodiment(
        name="bench",
        state=axes("joint"),
        action=axes("goal"),
        cameras={f"camera{k}": Camera(height=height, width=width) for k in range(cameras)},
        hz=20.0,
    )
