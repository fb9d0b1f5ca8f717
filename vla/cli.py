"""The `vla` command: one verb, then Hydra overrides.

The only upward edge of the package: this module calls `configs`, which composes
the parts. `vla --help` imports nothing heavy.
"""

import sys
from importlib.metadata import version

from vla.errors import VlaError, choose

VERBS = {
    "demo": "The whole loop in one go: record, train, evaluate, run live, report",
    "record": "Record expert demonstrations in simulation into a trajectory store",
    "convert": "Convert demonstrations from a public format into a trajectory store",
    "export": "Export a store as a LeRobot data set, or a checkpoint as a LeRobot policy",
    "data": "Look at, check, split, merge and edit trajectory stores: `vla data --help`",
    "questions": "Pictures with questions, to train and to test on: `vla questions --help`",
    "train": "Train a policy on a store; writes checkpoints, curves and a report",
    "eval": "Evaluate a checkpoint over tasks and seeds; intervals, videos, report",
    "compare": "Compare finished evaluations on the scenes they share; winner or none",
    "bench": "Measure many things alike: `vla bench --help`",
    "quantize": "Store a checkpoint in few bits, if it still plans and succeeds as before",
    "leaderboard": "Rank many evaluations on one page, as far as the data order them",
    "triage": "Rank the likely causes of failure, each with evidence and remedy",
    "reproduce": "Run one episode of a report again: same outcome, same actions, or why not",
    "run": "Drive a robot (or the simulated arm) with a checkpoint, through the safety gate",
    "replay": "Compute the commands of a flight again from its log, bit for bit",
    "serve": "Let other machines plan with a checkpoint, over websockets",
    "merge": "Add a checkpoint's adapters to its weights; the result needs no base",
    "report": "Gather finished runs into one HTML page",
    "list": "Show every group of the configuration and what can be chosen in it",
    "doctor": "Check this machine: GL, GPU, cores, permissions; each finding with its remedy",
}

TOOLS = {
    "data": {
        "info": "What a store holds, on one screen",
        "check": "Find what is wrong with a store, each finding with its remedy",
        "view": "One episode as a page with films and curves, or as a Rerun recording",
        "stats": "Exact statistics and histograms of every axis",
        "tokenizer": "Fit a FAST tokenizer on a store's action chunks",
        "compact": "Merge the many small segments of a recorded store into few",
        "split": "Copy a store into two: train and held_out",
        "merge": "Copy several stores of one embodiment into one, without repetitions",
        "edit": "Copy a store without some episodes or steps, or with other words",
    },
    "bench": {
        "policies": "Presets trained for equally long on equal data, in one table",
        "inference": "How long a plan takes, by phase, against what the device can do",
    },
    "questions": {
        "make": "Pictures of a world's scenes, questions about them and exact answers",
        "exam": "How many questions a checkpoint answers, by kind",
    },
}


def describe() -> str:
    """The text of `vla --help`."""
    verbs = "\n".join(f"  {name:<12}{text}" for name, text in VERBS.items())
    return (
        "usage: vla VERB [group=choice ...] [key=value ...]\n\n"
        "Vision-language-action policies: demonstrations, training, evaluation, live control.\n\n"
        f"verbs:\n{verbs}\n\n"
        "  vla VERB --help     what the verb does and every key it takes\n"
        "  vla VERB --cfg job  the composed configuration, without running it\n"
        "  vla --version\n\n"
        "Begin with `vla demo`, or `vla list` to see the choices.\n"
    )


def describe_tools(verb: str) -> str:
    """The text of `vla VERB --help` for a verb with tools."""
    tools = "\n".join(f"  {name:<10}{text}" for name, text in TOOLS[verb].items())
    return (
        f"usage: vla {verb} TOOL [key=value ...]\n\n{VERBS[verb]}\n\ntools:\n{tools}\n\n"
        f"  vla {verb} TOOL --help   what the tool does and every key it takes\n"
    )


def main() -> None:
    """Entry point of the console script; exits with 2 and one message on a VlaError."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        sys.stdout.write(describe())
        return
    if arguments[0] == "--version":
        sys.stdout.write(f"vla {version('vla-stack')}\n")
        return
    try:
        verb, *rest = arguments
        choose("verb", verb, VERBS)
        if verb in TOOLS:
            if not rest or rest[0] in ("-h", "--help", "help"):
                sys.stdout.write(describe_tools(verb))
                return
            choose(f"tool of `vla {verb}`:", rest[0], TOOLS[verb])
            verb, rest = f"{verb} {rest[0]}", rest[1:]
        from configs.launch import launch

        launch(verb, rest)
    except VlaError as error:
        sys.stderr.write(f"vla: {error}\n")
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
