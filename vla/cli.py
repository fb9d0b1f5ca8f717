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
    "export": "Export a trajectory store as a LeRobot data set",
    "train": "Train a policy on a store; writes checkpoints, curves and a report",
    "eval": "Evaluate a checkpoint over tasks and seeds; intervals, videos, report",
    "run": "Drive a robot (or the simulated arm) with a checkpoint, through the safety gate",
    "report": "Gather finished runs into one HTML page",
    "list": "Show every group of the configuration and what can be chosen in it",
    "doctor": "Check this machine: GL, GPU, cores, permissions; each finding with its remedy",
}


def describe() -> str:
    """The text of `vla --help`."""
    verbs = "\n".join(f"  {name:<9}{text}" for name, text in VERBS.items())
    return (
        "usage: vla VERB [group=choice ...] [key=value ...]\n\n"
        "Vision-language-action policies: demonstrations, training, evaluation, live control.\n\n"
        f"verbs:\n{verbs}\n\n"
        "  vla VERB --help     what the verb does and every key it takes\n"
        "  vla VERB --cfg job  the composed configuration, without running it\n"
        "  vla --version\n\n"
        "Begin with `vla demo`, or `vla list` to see the choices.\n"
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
        choose("verb", arguments[0], VERBS)
        from configs.launch import launch

        launch(arguments[0], arguments[1:])
    except VlaError as error:
        sys.stderr.write(f"vla: {error}\n")
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
