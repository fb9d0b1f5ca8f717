"""The flight log: what goes in comes out, also after kill -9; figures of a flight."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from vla.embodiment import Axis, Embodiment
from vla.errors import DataError
from vla.runtime import record
from vla.runtime.flight_figures import summary
from vla.runtime.record import FlightLog, read_flight

AXES = (Axis(name="x", unit="m", low=-1, high=1), Axis(name="y", unit="m", low=0, high=4))
BODY = Embodiment(name="toy", state=AXES, action=AXES, cameras={}, hz=10)
CAUSES = ("NONE", "NOT_FINITE", "BOUNDS")


def write(log, index, **fields):
    base = {"time": index / 10 + 0.01, "deadline": index / 10, "state_time": index / 10 - 0.02}
    log.append(**{**base, "image_time": np.nan, "wanted": [0, 0], "sent": [0, 0], **fields})


def test_round_trip_and_growth(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "GROWTH", 7)
    log = FlightLog(tmp_path / "a.log", embodiment=BODY, causes=CAUSES, facts={"weights": "abc"})
    for index in range(20):
        log.note(chunk=index // 8, row=index % 8)
        write(log, index, state=[index, -index], wanted=[np.nan, index], cause=index % 3)
    log.close()
    log.close()
    flight = read_flight(tmp_path / "a.log")
    assert flight.header["facts"] == {"weights": "abc"}
    assert flight.header["hash"] == BODY.hash
    assert flight.embodiment == BODY
    np.testing.assert_array_equal(flight.ticks["state"][:, 1], -np.arange(20))
    np.testing.assert_array_equal(flight.ticks["chunk"], np.arange(20) // 8)
    assert np.isnan(flight.ticks["wanted"][:, 0]).all()
    with pytest.raises(DataError, match="closed"):
        write(log, 21)


def test_never_overwrites_and_names_what_is_wrong(tmp_path):
    path = tmp_path / "a.log"
    FlightLog(path, embodiment=BODY, causes=CAUSES).close()
    with pytest.raises(DataError, match="exists"):
        FlightLog(path, embodiment=BODY, causes=CAUSES)
    assert summary(read_flight(path))["ticks"] == 0
    path.write_bytes(b"something else")
    with pytest.raises(DataError, match="no flight log"):
        read_flight(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_flight(tmp_path / "missing.log")


def test_survives_kill_nine(tmp_path):
    """The writer is killed without a chance to close; every finished record is there."""
    path = tmp_path / "a.log"
    code = (
        "import sys; sys.path.insert(0, 'tests/vla/runtime'); from pathlib import Path\n"
        "import time; import test_record as t\n"
        f"log = t.FlightLog(Path({str(path)!r}), embodiment=t.BODY, causes=t.CAUSES)\n"
        "for i in range(300): t.write(log, i, state=[i, i])\n"
        "log._rows[300]['state'] = 7  # torn: written, but not yet numbered\n"
        "print('ready', flush=True); time.sleep(60)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=os.getcwd())
    try:
        assert child.stdout.readline() == b"ready\n"
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
    ticks = read_flight(path).ticks
    assert len(ticks) == 300
    np.testing.assert_array_equal(ticks["state"][:, 0], np.arange(300))


def test_summary(tmp_path):
    log = FlightLog(tmp_path / "a.log", embodiment=BODY, causes=CAUSES)
    slots = [0, 1, 2, 5, 6]
    for n, slot in enumerate(slots):
        log.note(chunk=n // 3, row=n % 3)
        write(
            log,
            slot,
            wanted=[n * 0.1 if n < 4 else np.inf, 2.0 if n >= 3 else 0.0],
            cause=[0, 1, 1, 2, 0][n],
            missed=2 if slot == 5 else 0,
            lateness=0.004 if n == 4 else 0.0,
            latched=n == 3,
        )
    log.close()
    figures = summary(read_flight(log.path))
    assert figures["ticks"] == 5
    assert figures["missed"] == 2
    assert figures["rate_hz"] == pytest.approx(4 / 0.604)
    assert figures["lateness_ms"]["max"] == pytest.approx(4.0)
    assert figures["observation_age_ms"]["p50"] == pytest.approx(30.0)
    assert figures["refusals"] == {"NOT_FINITE": 2, "BOUNDS": 1}
    assert figures["latched"]
    assert figures["plans"] == 2
    assert figures["seam_jump"] == pytest.approx(0.5)
    assert figures["inner_jump"] == pytest.approx(0.05)


def test_a_full_disk_is_an_error_not_a_signal(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DataError, match="disk space"):
        FlightLog(tmp_path / "a.log", embodiment=BODY, causes=CAUSES)
