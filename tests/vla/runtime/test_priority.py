"""What was obtained is told, whatever the system grants."""

import os
import subprocess
import sys

from vla.runtime.priority import take_priority


def test_tells_what_was_obtained():
    """In a process of its own, because it lasts."""
    code = (
        "import os; from vla.runtime.priority import take_priority\n"
        "assert take_priority(0) == 'normal'\n"
        "got = take_priority(5)\n"
        "assert (os.sched_getscheduler(0) == os.SCHED_FIFO) == (got == 'real-time 5'), got\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_refusal_is_no_error(monkeypatch):
    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    assert take_priority(5) == "normal"
