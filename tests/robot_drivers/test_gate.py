"""The gate: nothing illegal passes, whatever is asked; holds are gentle; a latch stays."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_drivers.config import GateConfig
from robot_drivers.limits import TOLERANCE, Cause
from vla.embodiment import Axis, Embodiment
from vla.errors import ConfigError, ContractError, RobotError

BOX = {"workspace_low": [0.2, -0.3, 0.02], "workspace_high": [0.7, 0.3, 0.5]}
HOME = np.array([0.45, 0.0, 0.2, 0.0, 0.0, 0.0, 0.5, 1.0], np.float32)


def tool_body(frame="base"):
    """x, y, z, rx, ry, rz, joint1, gripper measured; tool deltas commanded; 20 Hz."""
    joint = Axis(name="joint1", unit="rad", low=-2, high=2, frame="joint")
    grip = Axis(name="gripper", unit="1", low=0, high=1, frame="joint")
    state = [Axis(name=n, unit="m", low=-1, high=1) for n in "xyz"]
    state += [Axis(name=f"r{n}", unit="rad", low=-4, high=4) for n in "xyz"]
    act = [
        Axis(name=f"d{n}", unit="m", low=-0.1, high=0.1, mode="delta", frame=frame) for n in "xyz"
    ]
    act += [Axis(name=f"dr{n}", unit="rad", low=-1, high=1, mode="delta") for n in "xyz"]
    return Embodiment(
        name="tool", state=(*state, joint, grip), action=(*act, grip), cameras={}, hz=20
    )


def joint_body():
    """Six absolute joints and a gripper; 50 Hz."""
    axes = [Axis(name=f"j{i}", unit="rad", low=-2, high=2, frame="joint") for i in range(6)]
    axes.append(Axis(name="gripper", unit="1", low=0, high=1, frame="joint"))
    return Embodiment(name="joints", state=tuple(axes), action=tuple(axes), cameras={}, hz=50)


def move(x=0.0, y=0.0, z=0.0, grip=1.0, turn=0.0):
    return np.array([x, y, z, turn, 0, 0, grip], np.float32)


def gate(body=None, **options):
    return GateConfig(**options).build(body or tool_body())


def judge(g, action, state=HOME, age=0.0):
    return g.judge(action, state=state, age=age)


def test_a_legal_command_goes_out_bit_for_bit():
    action = move(x=0.01, grip=0.3, turn=0.01)
    verdict = judge(gate(**BOX), action)
    assert verdict.cause is Cause.NONE
    assert verdict.sent.tobytes() == action.tobytes() == verdict.wanted.tobytes()


@pytest.mark.parametrize(
    ("action", "cause"),
    [
        (np.zeros(6, np.float32), Cause.SHAPE),
        (None, Cause.SHAPE),
        (np.array(["a"] * 7), Cause.NOT_FINITE),
        (move(x=np.nan), Cause.NOT_FINITE),
        (move(grip=-np.inf), Cause.NOT_FINITE),
        (np.full(7, 1e300), Cause.NOT_FINITE),
        (move(x=0.2), Cause.BOUNDS),
        (move(grip=1.01), Cause.BOUNDS),
        (move(grip=-0.01), Cause.BOUNDS),
        (move(x=0.01, y=0.01), Cause.VELOCITY),  # 0.28 m/s, though each axis has 0.2
        (move(turn=0.06), Cause.VELOCITY),
        (move(x=0.0125), Cause.NONE),
    ],
)
def test_causes(action, cause):
    verdict = judge(gate(), action)
    assert verdict.cause is cause
    if cause is not Cause.NONE:
        np.testing.assert_array_equal(verdict.sent, move(grip=1.0))  # delta 0, gripper as measured


def test_acceleration_counts_from_what_was_sent():
    g = gate(linear_acceleration=1.0)
    assert judge(g, move(x=0.0026)).cause is Cause.ACCELERATION
    for step in (0.0025, 0.005, 0.0075):
        assert judge(g, move(x=step)).cause is Cause.NONE
    assert judge(g, move(x=-0.0075)).cause is Cause.ACCELERATION


def test_the_hold_brakes_at_the_acceleration_limit():
    g = gate(linear_acceleration=1.0)
    for step in (0.0025, 0.005, 0.0075):
        judge(g, move(x=step))
    held = [judge(g, move(x=np.nan)) for _ in range(4)]
    np.testing.assert_allclose([v.sent[0] for v in held], [0.005, 0.0025, 0, 0], atol=1e-6)
    assert not any(v.abrupt for v in held)


def test_the_hold_stops_at_once_rather_than_leave_the_box():
    g = gate(linear_acceleration=1.0, **BOX)
    for step in (0.0025, 0.005):
        judge(g, move(x=step))
    edge = HOME.copy()
    edge[0] = 0.699
    verdict = judge(g, move(x=0.0075), state=edge)
    assert verdict.cause is Cause.WORKSPACE
    assert verdict.abrupt
    np.testing.assert_array_equal(verdict.sent[:6], 0)


def test_the_table_is_a_wall_and_the_way_back_is_open():
    low = HOME.copy()
    low[2] = 0.025
    assert judge(gate(**BOX), move(z=-0.01), state=low).cause is Cause.WORKSPACE
    below = HOME.copy()
    below[2] = 0.0
    assert judge(gate(**BOX), move(z=-0.001), state=below).cause is Cause.WORKSPACE
    assert judge(gate(**BOX), move(z=0.01), state=below).cause is Cause.NONE


def test_tool_frame_deltas_keep_clear_in_every_direction():
    edge = HOME.copy()
    edge[0] = 0.695
    assert judge(gate(tool_body(frame="tool"), **BOX), move(z=0.01), state=edge).cause is (
        Cause.WORKSPACE
    )
    assert judge(gate(**BOX), move(z=0.01), state=edge).cause is Cause.NONE


def test_joint_limit_age_and_sensor():
    bent = HOME.copy()
    bent[6] = 1.99
    assert judge(gate(), move(), state=bent).cause is Cause.JOINTS
    assert judge(gate(), move(), age=0.3).cause is Cause.STALE
    assert judge(gate(), move(), age=float("nan")).cause is Cause.STALE
    g = gate()
    judge(g, move())
    assert judge(g, move(), state=np.full(8, np.nan, np.float32)).cause is Cause.SENSOR
    assert judge(g, move(), state=np.zeros(3, np.float32)).cause is Cause.SENSOR
    with pytest.raises(RobotError, match="nothing to hold"):
        judge(gate(), move(), state=np.full(8, np.nan, np.float32))


def test_absolute_joints_velocity_lead_and_creeping_in():
    body, here = joint_body(), np.zeros(7, np.float32)
    g = gate(body, joint_acceleration=100.0)
    goal = here.copy()
    goal[0] = 0.02
    assert judge(g, goal, state=here).cause is Cause.NONE
    goal[0] = 0.06
    assert judge(g, goal, state=here).cause is Cause.VELOCITY
    np.testing.assert_allclose(judge(g, goal, state=here).sent[0], 0.02)  # holds what was sent
    stuck = gate(body, joint_acceleration=100.0, lead=0.02, latch_after=100)
    causes = []
    for k in range(8):
        goal[0] = 0.02 * (k + 1)
        causes.append(judge(stuck, goal, state=here).cause)
    assert Cause.LEAD in causes
    beyond, inward = here.copy(), here.copy()
    beyond[2], inward[2] = 1.995, 1.985
    assert judge(gate(body, joint_acceleration=100.0), inward, state=beyond).cause is Cause.NONE
    inward[2] = 1.998
    assert judge(gate(body, joint_acceleration=100.0), inward, state=beyond).cause is Cause.JOINTS


def test_latches_after_refusals_in_a_row_and_only_a_release_opens_it():
    g = gate(latch_after=3)
    bad = move(x=np.nan)
    assert [judge(g, a).latched for a in (bad, bad, move(), bad, bad, bad)] == [False] * 5 + [True]
    assert judge(g, move()).cause is Cause.LATCHED
    g.reset()
    assert judge(g, move()).cause is Cause.LATCHED
    g.release()
    assert judge(g, move()).cause is Cause.NONE


def test_nobody_latches_for_no_cause():
    g = gate()
    g.latch()
    with pytest.raises(ContractError):
        g.latch(Cause.NONE)
    assert judge(g, move()).cause is Cause.ESTOP


def test_emergency_stop_is_immediate_and_latched():
    g = gate(linear_acceleration=1.0)
    for step in (0.0025, 0.005):
        judge(g, move(x=step))
    g.latch()
    verdict = judge(g, move(x=0.005))
    assert (verdict.cause, verdict.latched, verdict.abrupt) == (Cause.ESTOP, True, True)
    np.testing.assert_array_equal(verdict.sent[:6], 0)


def test_start_pose():
    bad = HOME.copy()
    bad[2], bad[6] = 0.0, 2.5
    assert gate(**BOX).check_start(HOME) == []
    problems = gate(**BOX).check_start(bad)
    assert len(problems) == 2
    assert "joint1 is 2.500 rad" in problems[0]
    assert "z is 0.000 m" in problems[1]


def test_bodies_that_cannot_be_guarded_are_refused():
    grip = Axis(name="gripper", unit="1", low=0, high=1)
    blind = Embodiment(name="b", state=(), action=(grip,), cameras={}, hz=1)
    with pytest.raises(ContractError, match="gripper"):
        gate(blind)
    dx = Axis(name="dx", unit="m", low=-1, high=1, mode="delta")
    with pytest.raises(ContractError, match="x"):
        gate(Embodiment(name="b", state=(grip,), action=(dx,), cameras={}, hz=1), **BOX)
    with pytest.raises(ConfigError, match="workspace_low"):
        GateConfig(workspace_low=[0.0], workspace_high=[1.0])
    with pytest.raises(ConfigError, match="linear_speed"):
        GateConfig(linear_speed=float("nan"))


# --- properties: an arm that follows what is sent, and a policy that asks for anything ---

WILD = st.one_of(
    st.floats(-1 / 64, 1 / 64, width=32),
    st.floats(-3.0, 3.0, width=32),
    st.floats(width=32, allow_nan=True, allow_infinity=True),
    st.sampled_from([np.nan, np.inf, -np.inf, 3.4e38, -0.0, 1e-40]),
)


def sized(n):
    return st.lists(WILD, min_size=n, max_size=n).map(lambda v: np.array(v, np.float32))


@settings(max_examples=150)
@given(commands=st.lists(sized(7), min_size=1, max_size=30), age=st.floats(0, 0.3))
def test_no_illegal_tool_command_passes(commands, age):
    config = GateConfig(linear_acceleration=2.0, angular_acceleration=5.0, latch_after=8, **BOX)
    g, state, last = config.build(tool_body()), HOME.astype(np.float64), np.zeros(6)
    for wanted in commands:
        verdict = g.judge(wanted, state=state.astype(np.float32), age=age)
        sent = verdict.sent.astype(np.float64)
        velocity = sent[:6] * 20
        assert np.isfinite(sent).all()
        assert 0 <= sent[6] <= 1
        assert np.linalg.norm(velocity[:3]) <= 0.25 * (1 + 2 * TOLERANCE)
        assert np.linalg.norm(velocity[3:]) <= 1.05 * (1 + 2 * TOLERANCE)
        change = (velocity - last) * 20
        if not verdict.abrupt:
            assert np.linalg.norm(change[:3]) <= 2.0 * (1 + 2 * TOLERANCE)
            assert np.linalg.norm(change[3:]) <= 5.0 * (1 + 2 * TOLERANCE)
        else:
            assert (velocity == 0).all()
        if verdict.cause is Cause.NONE:
            assert verdict.sent.tobytes() == wanted.tobytes()
            assert age <= 0.25
        state[:3] += sent[:3]
        state[7] = sent[6]
        assert (state[:3] >= np.array(BOX["workspace_low"]) - 1e-5).all()
        assert (state[:3] <= np.array(BOX["workspace_high"]) + 1e-5).all()
        last = velocity


@settings(max_examples=150)
@given(
    commands=st.lists(sized(7), min_size=1, max_size=30),
    follow=st.floats(0, 1),
    walk=st.booleans(),
)
def test_no_illegal_joint_command_passes(commands, follow, walk):
    """`follow` 0 is a blocked arm; `walk` makes small steps from the last command likely."""
    config = GateConfig(joint_acceleration=20.0, latch_after=1000)
    g, state = config.build(joint_body()), np.full(7, 0.5)
    last, last_velocity = state.copy(), np.zeros(6)
    for wanted in commands:
        wanted = (last + wanted).astype(np.float32) if walk else wanted
        verdict = g.judge(wanted, state=state.astype(np.float32), age=0.0)
        sent = verdict.sent.astype(np.float64)
        velocity = ((sent - last) * 50)[:6]
        assert np.isfinite(sent).all()
        assert (np.abs(sent[:6]) <= 2 - 0.02 + 1e-5).all()
        assert (np.abs(velocity) <= 1.05 * (1 + 2 * TOLERANCE)).all()
        if not verdict.abrupt:
            assert (np.abs(velocity - last_velocity) * 50 <= 20 * (1 + 2 * TOLERANCE)).all()
        if verdict.cause is Cause.NONE:
            assert (np.abs(sent - state)[:6] <= 1.05 * 0.27 * (1 + 2 * TOLERANCE)).all()
        last, last_velocity = sent, velocity
        state = state + follow * (sent - state)
