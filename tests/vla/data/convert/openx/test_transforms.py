import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vla.data.convert.openx.transforms import (
    absolutize_closing,
    binarize_open,
    convert_quaternion,
    find_idle,
    invert_closed,
    keep_open,
    relabel_reached,
    wrap_angle,
)
from vla.errors import DataError


def column(*values: float) -> np.ndarray:
    return np.array(values, np.float32)[:, None]


def commands(low: float, high: float):
    shapes = st.tuples(st.integers(1, 12), st.just(1))
    return arrays(np.float32, shapes, elements=st.floats(low, high, width=32))


@given(commands(-1, 1))
def test_absolute_commands_follow_the_last_relative_one(values):
    """Against the definition, step by step."""
    moves = [value for value in values[:, 0] if abs(value) > 0.1]
    state = 1.0 if not moves or moves[0] > 0 else 0.0
    for value, result in zip(values[:, 0], absolutize_closing(values)[:, 0], strict=True):
        state = 0.0 if value > 0.1 else 1.0 if value < -0.1 else state
        assert result == state


def test_closing_is_positive():
    assert absolutize_closing(column(0, 1, 0, -1, 0)).ravel().tolist() == [1, 0, 0, 1, 1]


@given(commands(0, 1))
def test_a_step_under_way_takes_the_state_that_it_reaches(values):
    """Scanned in reverse, against the definition."""
    result = binarize_open(values)[:, 0]
    state = float(values[-1, 0] >= 0.5)
    for value, binary in zip(values[::-1, 0], result[::-1], strict=True):
        state = 1.0 if value > 0.95 else 0.0 if value < 0.05 else state
        assert binary == state


def test_opening_slowly_counts_as_open_from_the_start():
    slow = column(0, 0.2, 0.6, 1, 0.7, 0.3, 0)
    assert binarize_open(slow).ravel().tolist() == [0, 1, 1, 1, 0, 0, 0]


@given(commands(-2, 2))
def test_open_and_closed_are_opposites_within_bounds(values):
    np.testing.assert_allclose(keep_open(values) + invert_closed(values), 1)


def test_the_simulators_gripper_sign_is_turned():
    """LIBERO: -1 opens and +1 closes there; here 1 is open."""
    opening = invert_closed(column(-1, 1))
    assert opening.ravel().tolist() == [1, 0]
    assert (1 - 2 * opening).ravel().tolist() == [-1, 1]  # the way back, as docs/openx.md says


@given(st.floats(-50, 50), st.integers(-3, 3))
def test_wrapping_keeps_the_angle_and_bounds_it(angle, turns):
    wrapped = wrap_angle(np.float64(angle + turns * 2 * np.pi))
    assert -np.pi <= wrapped <= np.pi
    np.testing.assert_allclose([np.cos(wrapped), np.sin(wrapped)], [np.cos(angle), np.sin(angle)],
                               atol=1e-9)  # fmt: skip


def test_a_crossing_of_pi_is_a_small_step():
    """The public relabelling gives -6.26 here."""
    state = np.zeros((4, 7), np.float32)
    state[:, 5] = [0, 3.13, -3.13, -3.13]
    kept, action, rows = relabel_reached(state, np.ones((4, 7), np.float32))
    assert rows == slice(1, 3)
    np.testing.assert_allclose(action[0, 5], 2 * np.pi - 6.26, atol=1e-5)
    assert kept[0, 5] == np.float32(3.13)


@given(arrays(np.float32, (6, 7), elements=st.floats(-1, 1, width=32)))
def test_relabelled_steps_add_up_to_the_way_gone(state):
    """First and last step go; the gripper command stays."""
    command = np.arange(42, dtype=np.float32).reshape(6, 7)
    kept, action, _ = relabel_reached(state, command)
    assert kept.tobytes() == state[1:5].tobytes()
    np.testing.assert_allclose(action[:, :6].sum(0), state[5, :6] - state[1, :6], atol=1e-5)
    assert action[:, 6].tolist() == command[1:5, 6].tolist()


def test_too_short_to_relabel():
    with pytest.raises(DataError, match="2 steps"):
        relabel_reached(np.zeros((2, 7), np.float32), np.zeros((2, 7), np.float32))


@given(arrays(np.float64, 3, elements=st.floats(-1.5, 1.5)))
def test_quaternions_become_roll_pitch_yaw(angles):
    """Against the half-angle formulas of Rz(yaw) Ry(pitch) Rx(roll)."""
    (cr, cp, cy), (sr, sp, sy) = np.cos(angles / 2), np.sin(angles / 2)
    quaternion = [sr * cp * cy - cr * sp * sy, cr * sp * cy + sr * cp * sy,
                  cr * cp * sy - sr * sp * cy, cr * cp * cy + sr * sp * sy]  # fmt: skip
    result = convert_quaternion(np.array([quaternion], np.float32))
    np.testing.assert_allclose(result[0], angles, atol=2e-5)


def test_a_quaternion_of_zeros_is_refused():
    with pytest.raises(DataError, match="quaternion"):
        convert_quaternion(np.zeros((2, 4), np.float32))


def test_idle_needs_no_motion_and_an_unchanged_gripper():
    action = np.zeros((5, 7), np.float32)
    action[:, 6] = [1, 1, 0, 0, 0]
    action[4, 2] = 0.01
    assert find_idle(action).tolist() == [True, True, False, True, False]
