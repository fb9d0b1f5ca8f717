import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from policies.config import NORMALIZATIONS
from policies.normalizer import Normalizer
from tests.policies.samples import vector_statistics
from vla.embodiment import Axis
from vla.errors import ConfigError, StatisticsError, UnknownChoice

AXES = (
    Axis(name="dx", unit="m", low=-0.1, high=0.1, mode="delta"),
    Axis(name="turn", unit="rad", low=-3, high=3),
    Axis(name="gripper", unit="1", low=0, high=1),
)


def make(mode="quantile", *, axes=AXES, bounded=(), **changes):
    normalizer = Normalizer(axes, what="action", mode=mode, bounded=list(bounded))
    normalizer.fill(vector_statistics(axes, **changes))
    return normalizer


def test_quantiles_go_to_minus_one_and_one():
    normalizer = make(q01=np.array([-0.02, 1.0, 0.3]), q99=np.array([0.06, 2.0, 0.4]))
    ends = torch.tensor([[-0.02, 1.0, 0.0], [0.06, 2.0, 1.0], [0.02, 1.5, 0.5]])
    expected = torch.tensor([[-1.0, -1, -1], [1, 1, 1], [0, 0, 0]])  # the gripper by its bounds
    torch.testing.assert_close(normalizer(ends), expected)


def test_other_modes():
    values = torch.tensor([[0.05, 1.0, 0.0]])
    extremes = {"min": np.array([-0.05, 0, 0]), "max": np.array([0.05, 2, 1])}
    torch.testing.assert_close(make("min_max", **extremes)(values), torch.tensor([[1.0, 0, -1]]))
    moments = {"mean": np.array([0.03, 2, 0]), "std": np.array([0.01, 0.5, 1])}
    torch.testing.assert_close(make("mean_std", **moments)(values), torch.tensor([[2.0, -2, -1]]))


@given(
    mode=st.sampled_from(NORMALIZATIONS),
    center=st.floats(-5, 5),
    spread=st.floats(0.05, 5),
    values=st.lists(st.floats(-1, 1), min_size=1, max_size=5),
)
def test_inverse_undoes_forward(mode, center, spread, values):
    axis = Axis(name="a", unit="m", low=-10, high=10)
    low, high = np.array([center - spread]), np.array([center + spread])
    fields = {"mean": (low + high) / 2, "std": (high - low) / 2}
    fields |= {"min": low, "max": high, "q01": low, "q99": high}
    normalizer = make(mode, axes=(axis,), **fields)
    x = torch.tensor(values).unsqueeze(-1) * spread + center
    torch.testing.assert_close(normalizer.inverse(normalizer(x)), x, atol=1e-5, rtol=1e-5)


def test_outliers_are_not_clipped():
    normalizer = make()
    x = torch.tensor([[0.1, 3.0, 1.0]])  # q99 is at 0.8 of the bound
    assert normalizer(x)[0, 0] == pytest.approx(1.25)
    torch.testing.assert_close(normalizer.inverse(normalizer(x)), x)


def test_unfilled_refuses_to_run():
    normalizer = Normalizer(AXES, what="state", mode="quantile", bounded=[])
    with pytest.raises(StatisticsError, match="state normalizer has no statistics"):
        normalizer(torch.zeros(1, 3))
    with pytest.raises(StatisticsError, match="load its weights"):
        normalizer.inverse(torch.zeros(1, 3))


def test_loading_weights_fills_it():
    other = Normalizer(AXES, what="action", mode="quantile", bounded=[])
    other.load_state_dict(make().state_dict())
    x = torch.tensor([[0.03, -1.0, 0.2]])
    assert torch.equal(other(x), make()(x))


def test_foreign_statistics_are_refused():
    normalizer = Normalizer(AXES, what="action", mode="quantile", bounded=[])
    with pytest.raises(StatisticsError, match="turn"):
        normalizer.fill(vector_statistics((AXES[1], AXES[0], AXES[2])))  # order counts
    with pytest.raises(StatisticsError):
        normalizer.fill(vector_statistics(AXES[:2]))


@pytest.mark.parametrize(
    ("mode", "changes"),
    [
        ("quantile", {"q01": np.array([-0.01, 1, 0]), "q99": np.array([0.01, 1, 1])}),
        ("quantile", {"q01": np.array([-0.01, 1, 0]), "q99": np.array([0.01, 1 + 1e-5, 1])}),
        ("min_max", {"min": np.array([-0.01, 1, 0]), "max": np.array([0.01, 1, 1])}),
        ("mean_std", {"std": np.array([0.01, 0.0, 0.5])}),
    ],
)
def test_axis_without_spread_is_refused_by_name(mode, changes):
    with pytest.raises(StatisticsError, match=r"'turn' does not spread.*bounded_axes"):
        make(mode, **changes)
    by_bounds = make(mode, bounded=["turn"], **changes)
    assert by_bounds(torch.tensor([[0.0, 3.0, 0.0]]))[0, 1] == 1


def test_refused_statistics_leave_it_unfilled():
    normalizer = Normalizer(AXES, what="action", mode="mean_std", bounded=[])
    with pytest.raises(StatisticsError):
        normalizer.fill(vector_statistics(AXES, std=np.zeros(3)))
    with pytest.raises(StatisticsError, match="no statistics"):
        normalizer(torch.zeros(1, 3))


def test_gripper_that_never_moved_is_fine():
    flat = {"q01": np.array([-0.05, -1, 1]), "q99": np.array([0.05, 1, 1])}
    assert make(**flat)(torch.tensor([[0, 0, 1.0]]))[0, 2] == 1


def test_not_finite_statistics_are_refused():
    with pytest.raises(StatisticsError, match="'dx' are not finite"):
        make(q99=np.array([np.nan, 1, 1]))


def test_bounds_must_be_finite_to_scale_by():
    endless = (Axis(name="v", unit="m/s", low=-np.inf, high=np.inf),)
    with pytest.raises(ConfigError, match="no finite bounds"):
        Normalizer(endless, what="state", mode="quantile", bounded=["v"])
    fields = {"q01": np.array([-1.0]), "q99": np.array([3.0])}
    plain = {"mean": np.zeros(1), "std": np.ones(1), "min": -np.ones(1), "max": np.ones(1)}
    normalizer = Normalizer(endless, what="state", mode="quantile", bounded=[])
    finite = (Axis(name="v", unit="m/s", low=-1, high=1),)
    normalizer.fill(vector_statistics(finite, **fields, **plain))
    assert normalizer(torch.tensor([[3.0]])) == 1


def test_unknown_mode():
    with pytest.raises(UnknownChoice, match="quantile"):
        Normalizer(AXES, what="action", mode="quantil", bounded=[])
