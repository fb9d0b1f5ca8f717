"""Every method of execution can be chosen on the command line and read back from a log."""

from dataclasses import asdict

import pytest

from configs.launch import build_job, compose, register_schemas
from configs.restoring import restore_config
from vla.errors import ConfigError
from vla.runtime.config import AsyncControlConfig, ControlConfig, LatencyConfig
from vla.runtime.execution_config import EXECUTIONS, RtcConfig


def make(verb, *overrides):
    register_schemas()
    return build_job(compose(verb, ["checkpoint=runs/x", *overrides]))


@pytest.mark.parametrize("kind", sorted(EXECUTIONS))
def test_methods_are_chosen_by_name(kind):
    job = make("eval", "control=async", f"control/execution={kind}", "control.latency.seconds=0.1")
    assert type(job.control) is AsyncControlConfig
    assert type(job.control.execution) is EXECUTIONS[kind]
    assert job.control.latency == LatencyConfig(seconds=0.1)
    assert restore_config("control", asdict(job.control)) == job.control


def test_the_newest_plan_is_the_default_and_options_go_through():
    assert make("eval").control == ControlConfig()
    job = make("run", "control/execution=adaptive", "control.execution.alpha=9")
    assert job.control.execution.alpha == 9


def test_a_log_from_before_there_were_methods_is_read():
    value = asdict(ControlConfig(execute=3))
    del value["execution"], value["latency"]
    assert restore_config("control", value) == ControlConfig(execute=3)
    assert ControlConfig(execution=RtcConfig()) != ControlConfig()


def test_an_arm_takes_no_simulated_latency():
    with pytest.raises(ConfigError, match=r"control\.latency is for vla eval"):
        make("run", "control.latency.seconds=0.1")
