"""Policies that are no policies, to know what the others' rates mean: floor, ceiling, replay.

A rate of 0.6 is good where a random policy gets 0 and replayed demonstrations get 0.62, and poor
where they get 0.5 and 1. All of them run through the rollout and controller of the real one, so
what the control chain loses (rate limits, step limits, delays) they lose as well.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vla.contract import Policy, World
from vla.embodiment import Embodiment
from vla.errors import ConfigError, DataError
from vla.evaluation.result import Evaluation
from vla.runtime.config import ControlConfig
from vla.runtime.rollout import Tick, rollout
from vla.types import ActionChunk, Float32, Observation, Trajectory

HEARD, UNHEARD = ("given", "paraphrased"), ("blank", "swapped")


class ReplayPolicy:
    """Plans what was demonstrated, whatever it sees: rows of one trajectory by time.

    Past the end of the demonstration its last row is repeated, delta axes of it as 0, so that
    the arm stays where the demonstrator left it.

    Attributes:
        embodiment, history: see `vla.contract.Policy`.
    """

    history = 1

    def __init__(self, embodiment: Embodiment, trajectory: Trajectory, *, rows: int = 16):
        """Raises DataError when `trajectory` holds no actions."""
        if trajectory.action is None:
            raise DataError("A trajectory without actions cannot be replayed.")
        self.embodiment = embodiment
        rest = trajectory.action[-1].copy()
        rest[[axis.mode == "delta" for axis in embodiment.action]] = 0.0
        self._actions: Float32 = trajectory.action
        self._rest, self._rows = rest, np.arange(rows)

    def act(
        self, observations: Sequence[Observation], *, seeds: Sequence[int]
    ) -> list[ActionChunk]:
        """The rows due from each observation's time on; time 0 is the first row."""
        chunks = []
        for observation in observations:
            rows = round(observation.time * self.embodiment.hz) + self._rows
            actions = self._actions[np.minimum(rows, len(self._actions) - 1)].copy()
            actions[rows >= len(self._actions)] = self._rest
            chunks.append(ActionChunk(actions=actions, time=observation.time))
        return chunks


class RandomPolicy:
    """Uniform within the action bounds, one draw per plan, held: the floor of a success rate.

    A draw per row would tremble around the start and be an easier floor.
    """

    history = 1

    def __init__(self, embodiment: Embodiment, *, rows: int = 16):
        """Raises ConfigError when an action axis has no finite bounds."""
        self.embodiment = embodiment
        self._low = np.array([axis.low for axis in embodiment.action], dtype=np.float32)
        self._high = np.array([axis.high for axis in embodiment.action], dtype=np.float32)
        self._rows = rows
        if not np.isfinite([self._low, self._high]).all():
            raise ConfigError(f"{embodiment.name!r} has unbounded action axes; nothing to draw.")

    def act(
        self, observations: Sequence[Observation], *, seeds: Sequence[int]
    ) -> list[ActionChunk]:
        """See `vla.contract.Policy.act`."""
        chunks = []
        for observation, seed in zip(observations, seeds, strict=True):
            draw = np.random.default_rng(seed).uniform(self._low, self._high).astype(np.float32)
            rows = np.repeat(draw[None], self._rows, axis=0)
            chunks.append(ActionChunk(actions=rows, time=observation.time))
        return chunks


def play(
    world: World, policy: Policy, *, seed: int, control: ControlConfig, max_steps: int = 0
) -> Tick:
    """The last tick of an episode in this process; `max_steps` 0 means no limit."""
    controller = control.build(policy)
    (last,) = deque(rollout(world, controller, seed=seed, max_steps=max_steps or None), maxlen=1)
    return last


def replay_demonstration(
    world: World, trajectory: Trajectory, *, seed: int, control: ControlConfig, max_steps: int = 0
) -> bool:
    """Whether a demonstration's actions still succeed when played blindly through `control`.

    The share of demonstrations that do is the replay ceiling: what the chain behind the policy
    lets through. It is a lower bound of what a policy can reach, since a policy can correct.

    `trajectory` must have been recorded without disturbance in the scene of `seed`; else its
    actions are not those that were carried out.
    """
    policy = ReplayPolicy(world.embodiment, trajectory)
    last = play(world, policy, seed=seed, control=control, max_steps=max_steps)
    return bool(last.outcome.success)


@dataclass(frozen=True, kw_only=True, slots=True)
class LanguageUse:
    """How far success rests on the words.

    Attributes:
        index: 1 - (mean rate under blank and swapped words) / (rate under the right words): 0 for a
            policy deaf to words, 1 for one that never succeeds without them, negative when the
            wrong words help; None when it never succeeds at all.
        paraphrase: rate under other wordings / rate under the given ones; 1 when the wording does
            not matter, None when it was not run.
        n: episodes that all conditions share.
    """

    index: float | None
    paraphrase: float | None
    n: int


def measure_language_use(results: Mapping[str, Evaluation]) -> LanguageUse | None:
    """From conditions run on the same scenes; None without "given" and a condition of UNHEARD.

    Raises:
        DataError: when the conditions share no episode.
    """
    wrong = [name for name in UNHEARD if name in results]
    if "given" not in results or not wrong:
        return None
    used = {name: results[name].verdicts for name in (*HEARD, *UNHEARD) if name in results}
    shared = set.intersection(*(set(verdicts) for verdicts in used.values()))
    if not shared:
        raise DataError("The conditions share no episode; run them on the same tasks and seeds.")
    rates = {name: sum(v[key] for key in shared) / len(shared) for name, v in used.items()}
    given = rates["given"]
    if not given:
        return LanguageUse(index=None, paraphrase=None, n=len(shared))
    index = 1.0 - sum(rates[name] for name in wrong) / len(wrong) / given
    said = rates.get("paraphrased")
    return LanguageUse(
        index=index, paraphrase=None if said is None else said / given, n=len(shared)
    )


class SeamMeter:
    """Watches the command stream of an episode for jerk where one plan follows another.

    Jerk is here the second difference of the command in shares of each axis' range, the largest
    over the axes: a constant or evenly changing command has none. A ratio of seam to inner jerk
    well above 1 says that plans do not join.
    """

    def __init__(self, embodiment: Embodiment):
        span = [axis.high - axis.low for axis in embodiment.action]
        self._span = np.array(span, dtype=np.float64)
        self._last: list[np.ndarray] = []
        self._plan = -1
        self._seam: list[float] = []
        self._inner: list[float] = []

    def add(self, action: Float32, plan: int) -> None:
        """One command (A,) and the number of the plan it came from."""
        self._last = [*self._last[-2:], action / self._span]
        if len(self._last) == 3:
            a, b, c = self._last
            jerk = float(np.abs(c - 2 * b + a).max())
            (self._inner if plan == self._plan else self._seam).append(jerk)
        self._plan = plan

    def figures(self) -> dict[str, float]:
        """Mean jerk at seams and inside plans; a figure without a sample is left out."""
        kinds = {"seam_jerk": self._seam, "inner_jerk": self._inner}
        return {name: float(np.mean(values)) for name, values in kinds.items() if values}


def mean_figures(results: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Mean of every figure over the episodes that have it."""
    gathered: dict[str, list[float]] = {}
    for figures in results:
        for name, value in figures.items():
            gathered.setdefault(name, []).append(value)
    return {name: float(np.mean(values)) for name, values in gathered.items()}
