from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla.embodiment import Axis, Camera, Embodiment
from vla.errors import ContractError, EmbodimentMismatch, UnknownChoice

BODY = Embodiment(
    name="arm",
    state=(Axis(name="x", unit="m", low=-1, high=1),),
    action=(
        Axis(name="dx", unit="m", low=-0.1, high=0.1, mode="delta"),
        Axis(name="gripper", unit="1", low=0, high=1),
    ),
    cameras={"front": Camera(height=64, width=64, intrinsics=(60.0, 60.0, 32.0, 32.0))},
    hz=20.0,
    rotation="rotvec",
    gripper="open_is_one",
)


def test_json_round_trip_keeps_value_and_hash():
    again = Embodiment.from_json(BODY.to_json())
    assert again == BODY
    assert again.hash == BODY.hash
    assert len(BODY.hash) == 64


@given(low=st.floats(-10, -0.1), hz=st.floats(1, 1000))
def test_every_difference_changes_the_hash(low, hz):
    axis = replace(BODY.state[0], low=low)
    other = replace(BODY, state=(axis,), hz=hz)
    assert (other.hash == BODY.hash) == (other == BODY)


def test_fits_itself_and_ignores_spare_cameras():
    rich = replace(BODY, cameras={**BODY.cameras, "wrist": Camera(height=8, width=8)}, name="b")
    BODY.require(rich, mine="policy", theirs="world")
    with pytest.raises(EmbodimentMismatch, match=r"'wrist': missing in world .*front"):
        rich.require(BODY, mine="policy", theirs="world")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hz": 10.0}, "hz: policy 20.0, world 10.0"),
        ({"gripper": "open_is_zero"}, "gripper: policy 'open_is_one'"),
        ({"rotation": "euler_xyz"}, "rotation"),
        ({"action": BODY.action[:1]}, r"action: 2 axes \['dx', 'gripper'\] against 1 \['dx'\]"),
        ({"action": BODY.action[::-1]}, r"action axis 0 \(dx\): name 'dx' against 'gripper'"),
        ({"cameras": {"front": Camera(height=64, width=32)}}, "camera 'front'"),
    ],
)
def test_mismatch_names_the_difference(change, message):
    with pytest.raises(EmbodimentMismatch, match=message):
        BODY.require(replace(BODY, **change), mine="policy", theirs="world")


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: Axis(name="x", unit="m", low=1, high=1), ContractError),
        (lambda: Axis(name="x", unit="m", low=0, high=1, mode="absolut"), UnknownChoice),
        (lambda: replace(BODY, hz=0), ContractError),
        (lambda: replace(BODY, rotation="euler"), UnknownChoice),
        (lambda: replace(BODY, state=BODY.state * 2), ContractError),
        (lambda: Embodiment.from_json({"name": "x"}), ContractError),
    ],
)
def test_nonsense_is_refused(make, error):
    with pytest.raises(error):
        make()
