"""The arm's kinematics against the published numbers."""

import mink
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.arms.primitive import DH, FINGERTIP, FLANGE
from envs.body import JOINT_LIMITS
from envs.kinematics import DOWN, ArmKinematics

ARM = ArmKinematics()


def transform(a, d, alpha, theta):
    """Craig's modified DH matrix, written out."""
    ca, sa, ct, st_ = np.cos(alpha), np.sin(alpha), np.cos(theta), np.sin(theta)
    return np.array(
        [
            [ct, -st_, 0, a],
            [st_ * ca, ct * ca, -sa, -d * sa],
            [st_ * sa, ct * sa, ca, d * ca],
            [0, 0, 0, 1],
        ]
    )


def forward(joints):
    pose = np.eye(4)
    for (a, d, alpha), theta in zip(DH, joints, strict=True):
        pose = pose @ transform(a, d, alpha, theta)
    pose = pose @ transform(0, FLANGE, 0, 0)
    return pose @ transform(0, FINGERTIP, 0, -np.pi / 4)


@given(st.tuples(*(st.floats(low, high) for low, high in JOINT_LIMITS)))
@settings(max_examples=60)
def test_forward_agrees_with_the_dh_product(joints):
    np.testing.assert_allclose(ARM.forward(joints).as_matrix(), forward(joints), atol=1e-9)


def test_forward_at_the_franka_ready_pose():
    # The published ready pose: libfranka's examples start there, hand at x = 0.307, tip 0.487.
    pose = ARM.forward((0, -np.pi / 4, 0, -3 * np.pi / 4, 0, np.pi / 2, np.pi / 4))
    np.testing.assert_allclose(pose.translation(), [0.3069, 0.0, 0.4869], atol=2e-4)
    np.testing.assert_allclose((pose.rotation() @ DOWN.inverse()).log(), 0.0, atol=1e-6)


@pytest.mark.parametrize("x", [0.30, 0.50, 0.68])
@pytest.mark.parametrize("y", [-0.26, 0.0, 0.26])
@pytest.mark.parametrize("z", [0.015, 0.20])
def test_inverse_reaches_the_workspace(x, y, z):
    target = mink.SE3.from_rotation_and_translation(DOWN, np.array([x, y, z]))
    joints = ARM.reset(target)
    error = ARM.forward(joints).inverse() @ target
    assert np.linalg.norm(error.translation()) < 1e-3
    assert np.linalg.norm(error.rotation().log()) < 5e-3
    low, high = np.array(JOINT_LIMITS).T
    assert ((joints > low) & (joints < high)).all()


def test_following_stays_close_and_smooth():
    start = np.array([0.42, -0.2, 0.2])
    joints = ARM.reset(mink.SE3.from_rotation_and_translation(DOWN, start))
    for step in range(1, 21):
        point = start + step * np.array([0.005, 0.02, -0.008])
        target = mink.SE3.from_rotation_and_translation(DOWN, point)
        new = ARM.follow(target)
        assert np.abs(new - joints).max() < 0.2
        joints = new
        error = ARM.forward(joints).translation() - point
        assert np.linalg.norm(error) < 2e-3
