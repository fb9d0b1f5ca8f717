from vla.runtime.unending import UnendingWorld
from vla.types import Outcome


class Done:
    embodiment = None

    def outcome(self):
        return Outcome(success=True, ended=True, reason="the task is done")


def test_only_the_end_is_hidden():
    outcome = UnendingWorld(Done()).outcome()
    assert outcome == Outcome(success=True, ended=False, reason="the task is done")
