"""`vla quantize`: a checkpoint in few bits, behind a gate."""

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from configs.quantize_job import QuantizeJob
from configs.restoring import load_policy
from policies.quantize.config import RuntimeConfig
from vla.contract import Policy
from vla.errors import ConfigError, ExportRefused
from vla.evaluation.evaluate import evaluate
from vla.evaluation.noninferiority import NonInferiority, judge_noninferiority
from vla.files import require_vacant, write_json

if TYPE_CHECKING:
    from torch import nn


def main(job: QuantizeJob) -> None:
    """Quantize, compare with the float policy, and write the result if it passes.

    Raises:
        ExportRefused: when it does not pass; the evidence is in OUTPUT-gate/gate.json.
        ConfigError: for what is quantized already, and for an output that exists.
    """
    from policies.compiled import CompiledPolicy
    from policies.quantize.gate import action_ranges, describe_errors, judge
    from policies.quantize.quantizer import count_bytes, quantize
    from policies.quantize.storage import KEY, write_quantized
    from vla.data.store import TrajectoryStore
    from vla.evaluation.action_error import draw_observations, measure_action_error
    from vla.training.checkpoint import open_checkpoint

    console, evidence = Console(), Path(f"{job.output}-gate")
    require_vacant(Path(job.output))
    evidence.mkdir(parents=True, exist_ok=True)
    source = open_checkpoint(job.checkpoint)
    if KEY in source.contract:
        raise ConfigError(f"{job.checkpoint} is quantized already; give the float checkpoint.")
    store = TrajectoryStore.open(job.store)
    (reference, weights), (candidate, _) = (
        load_policy(job.checkpoint, device=job.device, embodiment=store.embodiment) for _ in "ab"
    )
    reference.embodiment.require(store.embodiment, mine="policy", theirs="store")
    ranges, size = action_ranges(reference), count_bytes(reference)
    seen, unseen = (
        draw_observations(store, store.split(part, job.held_out), count, history=reference.history)
        for part, count in (("train", job.calibration), ("held_out", job.judged))
    )
    layers = quantize(candidate, job.recipe, seen)
    deployed: Policy = candidate
    if job.recipe.runtime != RuntimeConfig():
        deployed = CompiledPolicy(candidate, job.recipe.runtime)
    action = measure_action_error(deployed, reference, unseen, ranges=ranges)
    console.print(
        f"{len(layers)} layers in {job.recipe.kind}: {size / 1e6:.1f} MB to "
        f"{count_bytes(candidate) / 1e6:.1f} MB; plans differ by {action.mean:.2g} of the range on "
        f"average, {action.p99:.2g} at the 99th percentile, {action.worst:.2g} at most."
    )
    loop = None
    if job.closed_loop:
        rivals = {"reference": (reference, weights), "candidate": (deployed, digest(candidate))}
        loop = try_closed_loop(job, rivals)
        console.print(loop.sentence, markup=False)
    gate = judge(job.recipe, layers, action, action_limit=job.action_limit, closed_loop=loop)
    verdict = gate.to_json(override=job.override)
    write_json(evidence / "gate.json", verdict)
    if gate.faults and not job.override:
        raise ExportRefused(
            f"Nothing was written: {'; '.join(gate.faults)}. Take a milder recipe (e.g. "
            "recipe=int8_weights) for errors, more evaluation.episodes for an interval that is too "
            f"wide, or override=true. Evidence: {evidence}/gate.json"
        )
    for fault in gate.faults:
        console.print(f"[bold]WRITTEN IN SPITE OF:[/] {fault}")
    if loop is None:
        console.print("[bold]Not judged:[/] success (closed_loop=false).")
    report = describe_errors(layers)
    told = {"recipe": asdict(job.recipe), "layers": report["layers"], "report": report,
            "gate": verdict}  # fmt: skip
    write_quantized(job.output, candidate, source, told)
    console.print(f"Checkpoint: {job.output}\nNext: vla run checkpoint={job.output}", markup=False)


def digest(policy: "nn.Module") -> str:
    """SHA-256 over all weights and codes."""
    import torch

    from vla.training.weights import module_tensors

    found = hashlib.sha256()
    for name, tensor in sorted(module_tensors(policy).items()):
        found.update(name.encode())
        found.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return found.hexdigest()


def try_closed_loop(job: QuantizeJob, policies: dict[str, tuple[Policy, str]]) -> NonInferiority:
    """Success of both on the same scenes, each plan at its tick whatever it costs.

    Args:
        job: world, control and evaluation.
        policies: "reference" and "candidate", each with the SHA-256 of its weights: episodes
            of others with the same output are never counted.
    """
    options, outcomes = job.evaluation, {}
    for name, (policy, weights) in policies.items():
        told = {"weights_sha256": weights, "role": name}
        if name == "candidate":
            told["recipe"] = asdict(job.recipe)
        found = evaluate(
            policy,
            job.world,
            tasks=job.world.tasks,
            seeds=options.list_seeds(),
            control=job.control,
            directory=Path(f"{job.output}-gate") / f"{name}-{weights[:12]}",
            workers=options.workers,
            batch=options.batch,
            threads=options.inference_threads,
            max_steps=options.max_steps,
            provenance=told,
        )
        outcomes[name] = {(e.task, e.seed): e.success for e in found.episodes}
    return judge_noninferiority(outcomes["candidate"], outcomes["reference"], margin=job.margin)
