"""Evaluating one policy on Meta-World: `vla eval`'s machinery against lerobot-eval's (0.6.1).

    python benchmarks/evaluation.py [--tasks push-v3] [--episodes 2] [--execute 100] [--ticks 500]

Both sides load the same LeRobot checkpoint (a small ACT with random weights, written here), play
the same episodes (equal seeds give equal layouts) with 480-pixel pictures in two processes; both
replan every `execute` ticks (100 is ACT's default). "full" draws what LeRobot draws, equal to the
pixel (tests/envs/benchmarks); "fast" leaves out shadows, reflections and anti-aliasing.
lerobot-eval is run by its own functions (make_env, make_policy, eval_policy_all) without the films
that its command line always draws.
Times are of the whole evaluation, our worker processes' start and both sides' building of
environments included, imports and loading of the policy in the main process not. Beside the wall
time stands the processor time of each side's whole process tree, which other work on the machine
hardly changes: on a busy one believe that. Every side runs --rounds times, sides taking turns;
ratios are of medians. Ends with one JSON line.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIZE = 480
FIRST_SEED = 1_000_000
HORIZON = 500
MARK = "began"
SIDES = ("fast", "full", "lerobot")
COMPARED = RATE, COST = "episodes_per_minute", "cpu_seconds_per_episode"
TICKS = os.sysconf("SC_CLK_TCK")


def write_checkpoint(folder: Path, *, execute: int) -> None:
    """A small ACT with random weights that plans 100 ticks and executes `execute` of them."""
    import torch
    from lerobot.configs import FeatureType, PolicyFeature
    from lerobot.policies.act.configuration_act import ACTConfig
    from lerobot.policies.act.modeling_act import ACTPolicy
    from lerobot.policies.factory import make_pre_post_processors

    torch.manual_seed(0)
    config = ACTConfig(
        input_features={
            "observation.image": PolicyFeature(type=FeatureType.VISUAL, shape=(3, SIZE, SIZE)),
            "observation.state": PolicyFeature(type=FeatureType.STATE, shape=(4,)),
        },
        output_features={"action": PolicyFeature(type=FeatureType.ACTION, shape=(4,))},
        pretrained_backbone_weights=None,
        chunk_size=100, n_action_steps=execute, dim_model=128, n_heads=4, dim_feedforward=256,
        n_encoder_layers=2, device="cpu", push_to_hub=False,
    )  # fmt: skip
    numbers = {"observation.image": (3, 1, 1), "observation.state": (4,), "action": (4,)}
    statistics = {
        key: {"mean": torch.zeros(shape), "std": torch.ones(shape),
              "min": -torch.ones(shape), "max": torch.ones(shape)}
        for key, shape in numbers.items()
    }  # fmt: skip
    ACTPolicy(config).save_pretrained(folder)
    for processor in make_pre_post_processors(config, dataset_stats=statistics):
        processor.save_pretrained(folder)


def run_ours(
    folder: Path, tasks: list[str], episodes: int, *, quality: str, execute: int, ticks: int
) -> dict:
    """Episodes per minute."""
    from configs.restoring import load_policy
    from envs.benchmarks.config import MetaworldConfig
    from vla.evaluation.evaluate import evaluate
    from vla.runtime.config import ControlConfig

    world = MetaworldConfig(tasks=tasks, image_size=SIZE, quality=quality, words="lerobot",
                            horizon=ticks)  # fmt: skip
    policy, _ = load_policy(str(folder), device="cpu", embodiment=world.embodiment())
    with tempfile.TemporaryDirectory() as results:
        began = begin(folder)
        done = evaluate(
            policy, world, tasks=world.tasks, seeds=range(FIRST_SEED, FIRST_SEED + episodes),
            control=ControlConfig(execute=execute), directory=results, workers=2, batch=2,
            max_steps=0, videos=0,
        )  # fmt: skip
        seconds = time.perf_counter() - began
    successes = [episode.success for episode in done.episodes]
    return report(seconds, sum(e.steps for e in done.episodes), successes) | {
        "inference_seconds": done.timing["inference_seconds"]
    }


def run_lerobot(folder: Path, tasks: list[str], episodes: int, *, ticks: int) -> dict:
    """The same by LeRobot's functions, two environments in two processes."""
    import functools

    import lerobot.envs.metaworld
    import torch
    from lerobot.configs import PreTrainedConfig
    from lerobot.envs import close_envs, make_env, make_env_pre_post_processors
    from lerobot.envs.configs import MetaworldEnv
    from lerobot.policies import make_policy, make_pre_post_processors
    from lerobot.scripts.lerobot_eval import eval_policy_all

    if ticks != HORIZON:  # its horizon is no option
        build = lerobot.envs.metaworld.MetaworldEnv
        lerobot.envs.metaworld.MetaworldEnv = functools.partial(shorten, build, ticks)
    settings = PreTrainedConfig.from_pretrained(folder)
    settings.pretrained_path = folder
    env = MetaworldEnv(task=",".join(tasks))
    policy = make_policy(cfg=settings, env_cfg=env).eval()
    before, after = make_pre_post_processors(settings, pretrained_path=str(folder))
    env_before, env_after = make_env_pre_post_processors(env_cfg=env, policy_cfg=settings)
    began = begin(folder)
    envs = make_env(env, n_envs=min(2, episodes), use_async_envs=True)
    with torch.no_grad():
        info = eval_policy_all(
            envs=envs, policy=policy, env_preprocessor=env_before, env_postprocessor=env_after,
            preprocessor=before, postprocessor=after, n_episodes=episodes,
            max_episodes_rendered=0, start_seed=FIRST_SEED,
        )  # fmt: skip
    seconds = time.perf_counter() - began
    close_envs(envs)
    successes = [ok for task in info["per_task"] for ok in task["metrics"]["successes"]]
    # Its report does not say how long an episode was; a failed one has all ticks.
    played = ticks * len(successes) if not any(successes) else 0
    return report(seconds, played, successes)


def shorten(build, ticks: int, **options):
    """One of LeRobot's environments with another horizon."""
    env = build(**options)
    env._max_episode_steps = ticks
    return env


def begin(folder: Path) -> float:
    """Tell the parent that the clock runs."""
    (folder.parent / MARK).touch()
    return time.perf_counter()


def report(seconds: float, ticks: int, successes: list[bool]) -> dict:
    """What both sides tell."""
    episodes = len(successes)
    return {
        "episodes_per_minute": round(60 * episodes / seconds, 2),
        "seconds": round(seconds, 1),
        "episodes": episodes,
        "ticks": ticks,
        "successes": int(sum(successes)),
    }


def run_side(command: list[str], mark: Path) -> dict:
    """Run one side in a session of its own; its result and the processor time it took.

    LeRobot's environments are children of a fork server that nobody waits for, so times are read
    off /proc while everything lives; what is spent in a process' last 0.2 s is lost.
    """
    mark.unlink(missing_ok=True)
    # LeRobot's viewer needs the GL named before Python starts.
    place_gl = {"MUJOCO_GL": "egl", **os.environ}
    spent: dict[str, float] = {}
    before = None
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=place_gl, start_new_session=True
    ) as side:
        while side.poll() is None:
            spent |= read_session(side.pid)
            if before is None and mark.exists():
                before = sum(spent.values())
            time.sleep(0.2)
        lines = side.stdout.read().strip().splitlines() if side.stdout else []
    if side.returncode:
        raise SystemExit(f"{' '.join(command)} ended with status {side.returncode}.")
    result = json.loads(lines[-1])
    total = sum(spent.values()) - (before or 0.0)
    return result | {"cpu_seconds_per_episode": round(total / result["episodes"], 2)}


def read_session(session: int) -> dict[str, float]:
    """Processor seconds so far by process id, of all processes of a session (Linux)."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it may end while we look
            words = stat.read_text().rpartition(")")[2].split()
            if int(words[3]) == session:
                found[stat.parent.name] = (int(words[11]) + int(words[12])) / TICKS
    return found


def main() -> None:
    """Every side in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", default="push-v3")
    parser.add_argument("--episodes", type=int, default=2)
    parser.add_argument("--execute", type=int, default=100)
    parser.add_argument("--ticks", type=int, default=HORIZON)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--side", choices=SIDES)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    tasks = options.tasks.split(",")
    if options.side:
        with contextlib.redirect_stdout(sys.stderr):
            if options.side == "lerobot":
                result = run_lerobot(options.folder, tasks, options.episodes, ticks=options.ticks)
            else:
                result = run_ours(
                    options.folder, tasks, options.episodes,
                    quality=options.side, execute=options.execute, ticks=options.ticks,
                )  # fmt: skip
        print(json.dumps(result))
        return
    runs: dict[str, list[dict]] = {side: [] for side in SIDES}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "act"
        write_checkpoint(folder, execute=options.execute)
        for side in SIDES * options.rounds:
            command = [sys.executable, __file__, "--side", side, "--folder", str(folder)]
            command += ["--tasks", options.tasks, "--episodes", str(options.episodes)]
            command += ["--execute", str(options.execute), "--ticks", str(options.ticks)]
            runs[side].append(run_side(command, folder.parent / MARK))
            print(side, runs[side][-1], file=sys.stderr)
    middle = {
        side: {key: statistics.median(run[key] for run in found) for key in COMPARED}
        for side, found in runs.items()
    }
    theirs = middle["lerobot"]
    ratios = {
        side: {
            "episodes_per_minute": round(middle[side][RATE] / theirs[RATE], 1),
            "processor_time": round(theirs[COST] / max(middle[side][COST], 1e-9), 1),
        }
        for side in ("full", "fast")
    }
    print(
        json.dumps(
            {
                "execute": options.execute,
                "tasks": tasks,
                "horizon": options.ticks,
                "load": os.getloadavg()[0],
                **runs,
                "ratios": ratios,
            }
        )
    )


if __name__ == "__main__":
    main()
