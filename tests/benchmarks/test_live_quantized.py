"""A quantized policy through the gate and onto the emulated arm; its flight log says so.

What the parts say to each other, not how punctual a busy machine is: that is the script's.
"""

import pytest

pytest.importorskip("scservo_sdk", reason="needs vla-stack[feetech]")


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_quantized_policy_flies_and_the_log_tells_its_recipe(tmp_path):
    from benchmarks.live_quantized import fly_quantized

    told = fly_quantized(tmp_path, seconds=2.0, steps=40, recorded=2.0)
    assert told["recipe"] == "int8"
    assert told["gate"]["passed"]
    assert told["gate"]["closed_loop"] is None  # not tried, and the log does not hide it
    assert told["body_hz"] == told["hz"] == 50
    assert told["ticks"] > 5
    assert told["plans"] >= 1
    assert set(told["states"]) <= {"HOLD", "RUN"}
