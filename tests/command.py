"""The `vla` command in this process: starting one takes longer than most verbs do."""

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from unittest import mock

from vla.cli import main


@dataclass(frozen=True)
class Ended:
    """How a command ended and what it printed."""

    status: int
    stdout: str
    stderr: str


def run_vla(*words: str) -> Ended:
    """Run `vla WORDS` to its end; an exception that the command would show as one is raised."""
    out, err, status = io.StringIO(), io.StringIO(), 0
    with (
        mock.patch.object(sys, "argv", ["vla", *words]),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as end:
            status = end.code or 0
    return Ended(status, out.getvalue(), err.getvalue())
