"""`vla reproduce`: one episode of a finished evaluation, once more."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from configs.reproduce_job import ReproduceJob
from configs.restoring import load_policy, restore_config
from configs.verbs.compare import find_result
from configs.verbs.eval import JOB_FILE
from vla.errors import CheckpointError, DataError, choose
from vla.evaluation.evaluate import evaluate
from vla.evaluation.journal import EpisodeResult, Journal
from vla.evaluation.provenance import describe_host, read_commit, read_versions
from vla.evaluation.videos import film_path

SAME = ("success", "steps", "reason", "instruction", "first_frame", "actions", "plans")
"""What must be equal; durations may differ."""


def main(job: ReproduceJob) -> None:
    """Run the episode; print what is equal and what is not. SystemExit(1) when anything is not."""
    console = Console()
    folder = Path(job.run)
    folder = folder.parent if folder.suffix == ".html" else folder
    stored = read_job(folder)
    place = find_result(folder, job.condition)
    earlier = find_episode(place, job.episode)
    setup = json.loads((place / "setup.json").read_text(encoding="utf-8"))
    again = run_again(job, stored, setup, earlier)
    differing = [name for name in SAME if getattr(again, name) != getattr(earlier, name)]
    verdict = "success" if again.success else f"failure ({again.reason})"
    console.print(f"{job.episode}: {verdict} after {again.steps} steps", markup=False)
    if not differing:
        console.print(f"Same outcome, same actions: SHA-256 {again.actions[:16]}...")
        return
    for name in differing:
        console.print(f"{name}: then {getattr(earlier, name)}, now {getattr(again, name)}")
    for line in compare_surroundings(setup, place):
        console.print(line, markup=False)
    raise SystemExit(1)


def read_job(folder: Path) -> dict[str, Any]:
    """The job beside a report. Raises DataError for a run from before jobs were kept."""
    path = folder / JOB_FILE
    if not path.exists():
        raise DataError(
            f"{path} does not exist: the run is older than `vla reproduce`, or no folder of "
            "`vla eval`. Evaluate again to have it."
        )
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def find_episode(place: Path, name: str) -> EpisodeResult:
    """The stored result of TASK:SEED. Raises UnknownChoice."""
    journal = Journal(place / "episodes.jsonl").episodes
    known = {f"{task}:{seed}": result for (task, seed), result in journal.items()}
    return choose(f"episode of {place}", name, known)


def run_again(
    job: ReproduceJob, stored: dict[str, Any], setup: dict[str, Any], earlier: EpisodeResult
) -> EpisodeResult:
    """The same weights, world, control and batch size; other workers do not matter.

    Raises:
        CheckpointError: when the weights are other ones now.
    """
    old = stored["job"]
    world = restore_config("world", old["world"])
    control = restore_config("control", old["control"])
    where = job.checkpoint or old["checkpoint"]
    policy, weights = load_policy(where, device=old["device"], embodiment=world.embodiment())
    if weights != stored["weights_sha256"]:
        raise CheckpointError(
            f"{where} holds other weights now ({weights[:12]}...) than the run was made with "
            f"({stored['weights_sha256'][:12]}...); give the old ones: checkpoint=FOLDER."
        )
    with TemporaryDirectory(prefix="vla-reproduce-") as folder:
        result = evaluate(
            policy,
            world if job.condition == "given" else world.under(job.condition),
            tasks=[earlier.task],
            seeds=[earlier.seed],
            control=control,
            directory=folder,
            workers=1,
            batch=setup["batch"],
            threads=setup["threads"],
            max_steps=setup["max_steps"],
            videos=1 if job.film else 0,
        )
        (episode,) = result.episodes
        if job.film:
            target = Path(job.film)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(film_path(Path(folder), episode).read_bytes())
    return episode


def compare_surroundings(setup: dict[str, Any], place: Path) -> list[str]:
    """What else is not as it was: packages, commit, machine."""
    host = json.loads((place / "result.json").read_text(encoding="utf-8"))["host"]
    then = {**setup["packages"], "commit": setup["git_commit"]}
    now = {**read_versions(), "commit": read_commit()}
    then |= {name: host.get(name) for name in describe_host()}
    now |= describe_host()
    lines = [
        f"{name}: then {then[name]}, now {now.get(name)}"
        for name in then
        if then[name] != now.get(name)
    ]
    return lines or ["Packages, commit and machine are the same; the policy is not repeatable."]
