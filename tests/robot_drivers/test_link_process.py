"""An SDK that crashes, hangs or complains in its own process is a typed error in ours."""

import os
import time
from functools import partial

import numpy as np
import pytest

from robot_drivers.link_process import LinkProcess
from robot_drivers.servo_link import Sample, ServoLink
from vla.errors import ArmSilent, ArmStopped


class Moody:
    """A link that does what `mood` says when it is servoed, and notes its end in `diary`."""

    def __init__(self, mood, diary):
        self.mood, self.diary, self.target = mood, diary, np.zeros(6)

    def open(self):
        if self.mood == "absent":
            raise ArmSilent("No controller.")

    def sense(self):
        return Sample(joints=self.target, stamp=float(os.getpid()), grip=0.5)

    def servo(self, target, grip):
        if self.mood == "crash":
            os.kill(os.getpid(), 11)
        if self.mood == "hang":
            time.sleep(60)
        if self.mood == "stop":
            raise ArmStopped("Protective stop.")
        self.target = target

    def stop(self):
        pass

    def close(self):
        self.diary.write_text("closed")


@pytest.fixture
def links(tmp_path):
    made = []

    def make(mood, patience=5.0):
        made.append(LinkProcess(partial(Moody, mood, tmp_path / "diary"), patience=patience))
        return made[-1]

    yield make
    for link in made:
        link.close()


def test_calls_go_through_and_closing_closes_the_link(links, tmp_path):
    link = links("well")
    assert isinstance(link, ServoLink)
    link.open()
    link.servo(np.arange(6.0), 1.0)
    sample = link.sense()
    np.testing.assert_array_equal(sample.joints, np.arange(6.0))
    assert sample.stamp != os.getpid()
    assert sample.grip == 0.5
    link.close()
    assert (tmp_path / "diary").read_text() == "closed"
    link.close()
    with pytest.raises(ArmSilent, match="connect first"):
        link.sense()


def test_a_crash_and_a_hang_are_a_silent_arm(links):
    for mood, words in (("crash", "crashed in servo"), ("hang", "hangs in servo")):
        link = links(mood, patience=1.0 if mood == "hang" else 5.0)
        link.open()
        with pytest.raises(ArmSilent, match=words):
            link.servo(np.zeros(6), None)
        began = time.monotonic()
        link.close()
        assert time.monotonic() - began < 4.0


def test_the_sdks_own_errors_keep_their_type(links):
    link = links("stop")
    link.open()
    with pytest.raises(ArmStopped, match="Protective stop"):
        link.servo(np.zeros(6), None)
    assert link.sense().grip == 0.5, "a complaint does not end the link"
    with pytest.raises(ArmSilent, match="No controller"):
        links("absent").open()
