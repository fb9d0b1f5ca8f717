"""The whole tabletop suite in one command: tasks, splits, perturbation axes, language use.

    python benchmarks/sixteen.py CHECKPOINT --output FOLDER [--episodes 25] [--axis-episodes 5]

Four evaluations, each what `vla eval` would do (a killed run goes on where it was): the sixteen
templates on known combinations of words, under right, blank, swapped and paraphrased instructions;
the held-out splits `compositional` and `unseen`; every perturbation axis at one level, against the
same scenes unperturbed. Ends with the tables of docs/benchmarks.md, also in FOLDER/tables.md.

CHECKPOINT must be trained on `world=tabletop16_known` (or `tabletop16_train`, with --thirteen: then
the three templates that are left out are a split of their own, `unseen_task`).
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

from configs.launch import build_job, compose, register_schemas
from configs.verbs.eval import main as evaluate
from envs.splits import HELD_OUT_TASKS
from vla.evaluation.config import split_axis
from vla.files import write_json

WORDS = "[given,blank,swapped,paraphrased]"


def list_parts(options: argparse.Namespace) -> dict[str, list[str]]:
    """By name of the part, its overrides of `vla eval`."""
    train = ["world=tabletop16_train"]
    trained = train if options.thirteen else ["world=tabletop16_known"]
    many = [f"evaluation.episodes={options.episodes}"]
    chosen, splitting = choose_tasks(options.tasks)
    parts = {
        "words": [*trained, *many, *chosen, f"evaluation.conditions={WORDS}"],
        "compositional": [*train, *many, *splitting, "world.split=compositional"],
        "unseen": [*train, *many, *splitting, "world.split=unseen"],
    }
    if options.thirteen:
        parts["unseen_task"] = ["world=tabletop16_unseen_task", *many]
    if options.axis_episodes:
        parts["axes"] = [*trained, *chosen, f"evaluation.episodes={options.axis_episodes}",
                         f"evaluation.conditions=[given,axes:{options.level}]"]  # fmt: skip
    return parts


def choose_tasks(names: str) -> tuple[list[str], list[str]]:
    """Overrides for what is wanted of all templates, and of those that have held-out words."""
    if not names:
        return [], []
    held = ",".join(name for name in names.split(",") if name not in HELD_OUT_TASKS)
    return [f"world.tasks=[{names}]"], [f"world.tasks=[{held}]"] if held else []


def tabulate(results: dict[str, dict], level: int) -> str:
    """Two Markdown tables and the language-use index."""
    words = results["words"]
    columns = {"known": words["tasks"]}
    columns |= {name: effect["tasks"] for name, effect in words["conditions"].items()}
    splits = [name for name in results if name not in ("words", "axes")]
    columns |= {name: results[name]["tasks"] for name in splits}
    pooled = {"known": words["pooled"], **{name: results[name]["pooled"] for name in splits}}
    for name in words["conditions"]:
        pooled[name] = pool(columns[name])
    lines = [f"| task | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    tasks = list(dict.fromkeys(task for column in columns.values() for task in column))
    for task in tasks:
        cells = (count(column[task]) if task in column else "" for column in columns.values())
        lines.append(f"| {task} | {' | '.join(cells)} |")
    lines.append(f"| all | {' | '.join(f'**{show(pooled[name])}**' for name in columns)} |")
    language = words["probes"]["language"]
    if language is not None:
        index, said = (round_or_none(language[name]) for name in ("index", "paraphrase"))
        lines += ["", f"Language-use index {index}, paraphrased / given {said}, {language['n']} "
                  "scenes each."]  # fmt: skip
    if "axes" in results:
        axes = results["axes"]
        lines += ["", f"| axis, level {level} | success | against the same scenes as they are |"]
        lines += ["|---|---|---|", f"| none | {show(axes['pooled'])} | |"]
        for name, effect in axes["conditions"].items():
            axis, _ = split_axis(name)
            points = f"{-100 * effect['difference']:+.0f} points, p = {effect['p_value']:.2g}"
            lines.append(f"| {axis.replace('_', ' ')} | {show(pool(effect['tasks']))} | {points} |")
    return "\n".join(lines)


def pool(tasks: dict[str, dict]) -> dict:
    """All tasks' episodes as one rate."""
    from vla.evaluation.statistics import wilson_interval

    successes, n = (sum(task[key] for task in tasks.values()) for key in ("successes", "n"))
    low, high = wilson_interval(successes, n)
    return {"successes": successes, "n": n, "low": low, "high": high}


def count(rate: dict) -> str:
    """Successes of n."""
    return f"{rate['successes']}/{rate['n']}"


def show(rate: dict) -> str:
    """Successes of n with the Wilson interval."""
    return f"{count(rate)} [{rate['low']:.2f}, {rate['high']:.2f}]"


def round_or_none(value: float | None) -> str:
    """Two decimals, or a dash for what has no value."""
    return "-" if value is None else f"{value:.2f}"


def main() -> None:
    """Run what is missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint")
    parser.add_argument("--output", required=True)
    parser.add_argument("--episodes", type=int, default=25, help="per task and condition")
    parser.add_argument("--axis-episodes", type=int, default=5, help="0 leaves the axes out")
    parser.add_argument("--level", type=int, default=3, help="of the axes, 1 to 5")
    parser.add_argument("--tasks", default="", help="some of the templates, by commas")
    parser.add_argument("--thirteen", action="store_true", help="trained on tabletop16_train")
    options = parser.parse_args()
    os.environ.setdefault("MUJOCO_GL", "egl")
    register_schemas()
    output, results, began = Path(options.output), {}, time.monotonic()
    for part, overrides in list_parts(options).items():
        print(f"{part}: vla eval {' '.join(overrides)}", file=sys.stderr)
        place = [f"checkpoint={options.checkpoint}", f"output={output / part}"]
        evaluate(build_job(compose("eval", [*place, *overrides, "evaluation.videos=0"])))
        results[part] = json.loads((output / part / "summary.json").read_text())
    tables = tabulate(results, options.level)
    write_json(output / "summary.json", results)
    (output / "tables.md").write_text(tables + "\n")
    print(tables)
    print(f"{(time.monotonic() - began) / 60:.1f} minutes, load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
