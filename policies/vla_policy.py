"""The policy of the house: normalizers, a backbone and a head."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from policies.config import VlaPolicyConfig
from policies.heads.interface import draw
from policies.normalizer import Normalizer
from policies.peft.config import PeftConfig
from policies.planning import Inputs, finish, gather, plan, upload
from policies.relative import pair, to_relative
from policies.speech import read_replies, write
from vla.embodiment import Embodiment
from vla.errors import ConfigError, ShapeError
from vla.types import ActionChunk, Observation

if TYPE_CHECKING:
    from vla.data.batch import Batch
    from vla.data.stats import Statistics

_STATE_LIMIT = 5.0  # normalised; a state far outside the data must not swamp the network


class VlaPolicy(nn.Module):
    """Sees, reads, plans: `vla.contract.Policy`, and an `nn.Module` with a loss.

    Attributes:
        embodiment: whose observations it takes and whose actions it plans.
        history: observation steps T.
        horizon: planned rows H.
        planner: computes `planning.plan` in its own way, see `policies.compiled`; None: as it is.
    """

    def __init__(
        self, config: VlaPolicyConfig, embodiment: Embodiment, statistics: "Statistics | None"
    ):
        super().__init__()
        self.config = config
        self.embodiment = embodiment
        self.history = config.history
        self.horizon = config.horizon
        require_known(config, [embodiment])
        mode, bounded = config.normalization, config.bounded_axes
        self.state_normalizer = Normalizer(
            embodiment.state, what="state", mode=mode, bounded=bounded
        )
        (self.pairs,) = pair((embodiment,), relative=config.relative_actions)
        self.action_normalizer = Normalizer(
            self.pairs.axes(embodiment), what="action", mode=mode, bounded=bounded
        )
        chunk = {"action_dim": len(embodiment.action), "horizon": config.horizon}
        self.backbone = config.backbone.build(
            embodiment,
            history=config.history,
            readouts=config.head.count_readouts(**chunk),
        )
        self.head = config.head.build(shape=self.backbone.shape, **chunk)
        self._adapters = config.peft.attach(self)
        self.planner: Callable[[Inputs], Tensor] | None = None
        if statistics is not None:  # behind the adapters, whose base brings those of other data
            self.pairs.require(statistics, embodiment, config.horizon)
            self.state_normalizer.fill(statistics.state)
            self.action_normalizer.fill(statistics.action)

    def loss(
        self, batch: "Batch", *, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Training loss; a function of weights, batch and generator only.

        Args:
            batch: of B windows with T == `history` and H == `horizon`.
            generator: the only source of randomness.

        Returns:
            Scalar loss = "action" + grounding_weight * "grounding" + text_weight * "text" +
            "adapters" (a penalty that few methods have), and these parts, detached. Samples
            without a real action entry do not count in the first, those without words to write
            not in the third.

        Raises:
            ConfigError: for words to write without a language model.
        """
        told = to_relative(batch.actions, batch.state[:, -1].nan_to_num(), self.pairs)
        actions = self.action_normalizer(told)
        state = self.normalize_state(batch.state)
        if self.config.state_noise > 0:
            state = state + self.config.state_noise * draw(state, generator)
        context = self.backbone.encode(batch.images, batch.instruction, state)
        text, context = read_replies(context, batch.reply, planned=self.config.plan_words > 0)
        per_sample = self.head.loss(context, actions, batch.mask, generator=generator)
        real = (batch.mask > 0).any(dim=(1, 2))
        action = (per_sample * real).sum() / real.sum().clamp(min=1)
        grounding = grounding_loss(context.labels, batch.labels)
        total = action if text is None else action + self.config.text_weight * text
        if grounding is not None:
            total = total + self.config.grounding_weight * grounding
        penalty = None if self._adapters is None else self._adapters.penalty(self)
        if penalty is not None:
            total = total + penalty
        parts = {
            "loss": total,
            "action": action,
            "grounding": grounding,
            "text": text,
            "adapters": penalty,
        }
        return total, {key: value.detach() for key, value in parts.items() if value is not None}

    def after_update(self, step: int) -> None:
        """Let the adapters follow the optimizer's update `step`, counted from 1."""
        if self._adapters is not None:
            self._adapters.after_update(self, step)

    def merge_adapters(self) -> None:
        """Add the adapters to the weights for good; the policy is one without them then."""
        if self._adapters is not None:
            from policies.peft.adapters import merge

            merge(self)
            self._adapters = None
            self.config = replace(self.config, peft=PeftConfig())

    def act(
        self, observations: Sequence[Observation], *, seeds: Sequence[int]
    ) -> list[ActionChunk]:
        """One chunk per observation, within the embodiment's bounds; see `Policy.act`.

        Rows that are `pending` come back unchanged as the first rows of the chunk; heads that
        can keep those behind them near the `tentative` ones.

        Raises:
            ShapeError: when an observation is out of contract.
        """
        if len(observations) != len(seeds):
            raise ShapeError(f"{len(observations)} observations but {len(seeds)} seeds.")
        for observation in observations:
            self._check(observation)
        chunks: dict[int, ActionChunk] = {}
        # Observations with equally many rows of the last plan share a pass through the network.
        order = sorted(range(len(observations)), key=lambda i: _count_rows(observations[i]))
        for _, group in groupby(order, key=lambda i: _count_rows(observations[i])):
            members = list(group)
            actions = self._plan([observations[i] for i in members], [seeds[i] for i in members])
            for index, rows in zip(members, actions, strict=True):
                chunks[index] = ActionChunk(actions=rows, time=observations[index].time)
        return [chunks[i] for i in range(len(observations))]

    @torch.inference_mode()
    def answer(
        self, images: Mapping[str, np.ndarray], questions: Sequence[str], *, words: int = 16
    ) -> list[str]:
        """What the language model says to questions about pictures, from its whole vocabulary.

        Asked an instruction, a policy that plans tells its plan.

        Args:
            images: per camera uint8 (B, T, H, W, 3); a camera that is left out is black.
            questions: B texts.
            words: longest answer, in words of the language model.

        Raises:
            ShapeError: for other shapes. ConfigError: without a language model.
        """
        seen = {}
        for name, camera in self.embodiment.cameras.items():
            want = (len(questions), self.history, camera.height, camera.width, 3)
            picture = images.get(name, np.zeros(want, np.uint8))
            if picture.shape != want:
                raise ShapeError(f"Image {name!r} has shape {picture.shape}; it must be {want}.")
            seen[name] = torch.from_numpy(np.ascontiguousarray(picture)).to(self.device)
        axes = len(self.embodiment.state)
        state = torch.zeros(len(questions), self.history, axes, device=self.device)  # the middle
        answers, _ = write(self.backbone.encode(seen, list(questions), state), words=words)
        return answers

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.action_normalizer.center.device

    @torch.inference_mode()
    def _plan(self, observations: list[Observation], seeds: list[int]) -> np.ndarray:
        """Actions float32 (n, H, A) for observations with equally many rows of the last plan."""
        inputs = gather(self, observations, seeds)
        if self.planner is not None:
            return finish(self, self.planner(inputs), observations)
        return finish(self, plan(self, upload(inputs, self.device)), observations)

    def normalize_state(self, state: Tensor) -> Tensor:
        """States of the body's units (..., S), normalised and within limits; NaN becomes 0."""
        normed = self.state_normalizer(state)
        normed = normed.masked_fill(normed.isnan(), 0.0)  # NaN: not known, see Batch
        return normed.clamp(-_STATE_LIMIT, _STATE_LIMIT)

    def _check(self, observation: Observation) -> None:
        """Raise ShapeError unless `observation` is what this policy was made for."""
        for name, camera in self.embodiment.cameras.items():
            if name not in observation.images:
                have = ", ".join(sorted(observation.images)) or "none"
                raise ShapeError(f"The observation lacks camera {name!r} (it has: {have}).")
            want = (self.history, camera.height, camera.width, 3)
            if observation.images[name].shape != want:
                raise ShapeError(
                    f"Image {name!r} has shape {observation.images[name].shape}; the policy "
                    f"needs {want}: T == history, height, width, colours."
                )
        want = (self.history, len(self.embodiment.state))
        if observation.state.shape != want:
            raise ShapeError(f"State has shape {observation.state.shape}; it must be {want}.")
        if not np.isfinite(observation.state).all():
            raise ShapeError("State holds NaN or inf; a sensor is not to be trusted.")
        rows, axes = sum(_count_rows(observation)), len(self.embodiment.action)
        told = [part for part in (observation.pending, observation.tentative) if part is not None]
        if rows > self.horizon or any(part.shape[1] != axes for part in told):
            raise ShapeError(
                f"Pending and tentative have shapes {[part.shape for part in told]}; together "
                f"they must be at most {self.horizon} rows of {axes} axes."
            )


def grounding_loss(predicted: dict[str, Tensor], labels: dict[str, Tensor]) -> Tensor | None:
    """Smooth L1 over the names both have; None without one.

    Entries that are not finite (the thing has no place in this image) do not count.

    Raises:
        ShapeError: when a label has not as many entries as its prediction.
    """
    losses = []
    for name in sorted(predicted.keys() & labels.keys()):
        guess, truth = predicted[name].float(), labels[name]
        if guess.shape != truth.shape:
            raise ShapeError(
                f"Label {name!r} has shape {tuple(truth.shape)}; the backbone predicts "
                f"{tuple(guess.shape)}."
            )
        known = truth.isfinite()
        error = F.smooth_l1_loss(guess, truth.nan_to_num(), beta=0.1, reduction="none")
        losses.append((error * known).sum() / known.sum().clamp(min=1))
    return torch.stack(losses).mean() if losses else None


def _count_rows(observation: Observation) -> tuple[int, int]:
    """How many rows of the last plan are committed, and how many tentative."""
    parts = (observation.pending, observation.tentative)
    pending, tentative = (0 if rows is None else len(rows) for rows in parts)
    return pending, tentative


def require_known(config: VlaPolicyConfig, bodies: Sequence[Embodiment]) -> None:
    """Raise ConfigError when `bounded_axes` names an axis that none of the bodies has."""
    known = {axis.name for body in bodies for axis in (*body.state, *body.action)}
    unknown = sorted(set(config.bounded_axes) - known)
    if unknown:
        raise ConfigError(f"bounded_axes names {unknown}; the axes are: {sorted(known)}.")
