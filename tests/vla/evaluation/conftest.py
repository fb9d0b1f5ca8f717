import sys
from pathlib import Path

import pytest

ROOT = str(Path(__file__).parents[3])


@pytest.fixture(autouse=True)
def _workers_can_import_the_tests(monkeypatch):
    """A spawned worker unpickles fake worlds by module name, so it must find `tests`."""
    monkeypatch.setattr(sys, "path", [ROOT, *sys.path])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
