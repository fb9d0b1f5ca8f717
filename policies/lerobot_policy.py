"""A policy trained with LeRobot, behind our contract.

LeRobot's own code does all of it: its processors normalise, its policy plans a chunk, its
processors undo the normalisation. This class maps names, checks sizes, and makes the call
pure: no observation or action queue survives a call, and all randomness comes from the
seed.
"""

from collections.abc import Sequence

import numpy as np
import torch
from lerobot.configs import FeatureType, PreTrainedConfig

from policies.config import LerobotPolicyConfig
from policies.lerobot_checkpoint import load_checkpoint, read_settings
from vla.embodiment import Embodiment
from vla.errors import CheckpointError, EmbodimentMismatch, ShapeError
from vla.types import ActionChunk, Observation

ACTION = "action"
LONE_IMAGE = "observation.image"
"""LeRobot's key for the picture of an environment with one unnamed camera."""


class LerobotPolicy:
    """Any LeRobot policy that can plan a chunk from what it is given.

    Observations are planned for one after the other, because LeRobot draws noise for a
    whole batch at once: n observations cost n calls. LeRobot draws from torch's global
    generator, which is put back afterwards, so two threads must not call one process's
    policies at the same time.

    Attributes:
        embodiment: as given; LeRobot's checkpoints do not say what their numbers mean.
        history: observation steps T, the checkpoint's n_obs_steps.

    Args:
        config: which folder, and how our names map to its keys.
        embodiment: what the checkpoint was trained on, in our words.

    Raises:
        CheckpointError: when the folder cannot be loaded or needs an input we do not have.
        StatisticsError: when a normalised feature has no usable statistics.
        EmbodimentMismatch: when the sizes of state, actions or images differ.
    """

    def __init__(self, config: LerobotPolicyConfig, embodiment: Embodiment):
        settings = read_settings(config.path, config.device)
        self.embodiment = embodiment
        self._timed, self.history = _read_history(config.path, settings)
        self._cameras = _map_cameras(config, embodiment, settings.input_features)
        _require_sizes(config, embodiment, settings, self._cameras)
        self._state = config.state
        self._rows = config.rows
        self._device = torch.device(config.device)
        checkpoint = load_checkpoint(config.path, settings)
        self._policy = checkpoint.policy
        self._preprocess = checkpoint.preprocess
        self._postprocess = checkpoint.postprocess

    def act(
        self, observations: Sequence[Observation], *, seeds: Sequence[int]
    ) -> list[ActionChunk]:
        """One chunk per observation, each as if it were alone.

        Args:
            observations: n of them, each with T == `history`.
            seeds: one per observation; decides the noise of its chunk.

        Returns:
            n chunks of float32 (H, A), in the dataset's units; row 0 is due now.

        Raises:
            ShapeError: on a wrong shape, number of seeds, or a chunk that is not finite.
            EmbodimentMismatch: when a camera is missing.
        """
        if len(observations) != len(seeds):
            raise ShapeError(f"{len(observations)} observations came with {len(seeds)} seeds.")
        batches = [self._make_batch(observation) for observation in observations]
        return [
            ActionChunk(actions=self._plan(batch, seed), time=observation.time)
            for batch, seed, observation in zip(batches, seeds, observations, strict=True)
        ]

    def _make_batch(self, observation: Observation) -> dict[str, torch.Tensor | list[str]]:
        """Batch of one with LeRobot's keys: images float (1, [T,] 3, H, W) in [0, 1]."""
        shape = (self.history, len(self.embodiment.state))
        if observation.state.shape != shape:
            raise ShapeError(f"The state has shape {observation.state.shape}; it must be {shape}.")
        batch: dict[str, torch.Tensor | list[str]] = {"task": [observation.instruction]}
        if self._state:
            batch[self._state] = self._with_time(torch.tensor(observation.state))
        for key, name in self._cameras.items():
            if name not in observation.images:
                raise EmbodimentMismatch(
                    f"Camera {name!r} is missing; offered are {sorted(observation.images)}."
                )
            image = torch.tensor(observation.images[name])
            camera = self.embodiment.cameras[name]
            if image.shape != (self.history, camera.height, camera.width, 3):
                raise ShapeError(
                    f"Image {name!r} has shape {tuple(image.shape)}; it must be "
                    f"{(self.history, camera.height, camera.width, 3)}."
                )
            batch[key] = self._with_time(image.movedim(-1, -3).float() / 255)
        return batch

    def _with_time(self, value: torch.Tensor) -> torch.Tensor:
        return value[None] if self._timed else value

    def _plan(self, batch: dict[str, torch.Tensor | list[str]], seed: int) -> np.ndarray:
        devices = [self._device] if self._device.type == "cuda" else []
        amp = torch.autocast(self._device.type, enabled=self._policy.config.use_amp)
        with torch.random.fork_rng(devices=devices), torch.no_grad(), amp:
            torch.default_generator.manual_seed(seed)
            if devices:
                with torch.cuda.device(self._device):
                    torch.cuda.manual_seed(seed)
            self._policy.reset()
            chunk = self._policy.predict_action_chunk(self._preprocess(batch))
            rows = self._postprocess(chunk)[0].float().cpu().numpy()  # (H, A)
        if not np.isfinite(rows).all():
            raise ShapeError("The planned actions hold NaN or inf; the checkpoint is broken.")
        return rows[: self._rows or None].copy()


def _map_cameras(
    config: LerobotPolicyConfig, embodiment: Embodiment, features: dict
) -> dict[str, str]:
    """Our camera name by the checkpoint's image key; every key needs one."""
    unknown = sorted(set(config.cameras) - set(embodiment.cameras))
    if unknown:
        raise EmbodimentMismatch(
            f"LerobotPolicyConfig.cameras names {unknown}; {embodiment.name!r} has "
            f"{sorted(embodiment.cameras)}."
        )
    keys = [key for key, feature in features.items() if feature.type is FeatureType.VISUAL]
    names = {
        config.cameras.get(name, f"observation.images.{name}"): name for name in embodiment.cameras
    }
    if keys == [LONE_IMAGE] and len(embodiment.cameras) == 1 and not config.cameras:
        names = {LONE_IMAGE: next(iter(embodiment.cameras))}
    if len(names) < len(embodiment.cameras):
        raise EmbodimentMismatch(f"Two cameras have one key: {config.cameras}; give each its own.")
    lacking = sorted(set(keys) - set(names))
    foreign = sorted(set(config.cameras.values()) - set(keys))
    if lacking or foreign:
        raise EmbodimentMismatch(
            f"{config.path!r} sees {keys}; {embodiment.name!r} offers {names}. Map each camera "
            "to its key in LerobotPolicyConfig.cameras, e.g. {'front': 'observation.images.top'}."
        )
    return {key: names[key] for key in keys}


def _require_sizes(
    config: LerobotPolicyConfig,
    embodiment: Embodiment,
    settings: PreTrainedConfig,
    cameras: dict[str, str],
) -> None:
    """Raise EmbodimentMismatch unless each feature has the size our side gives or takes."""
    ours: dict[str, tuple[int, ...]] = {ACTION: (len(embodiment.action),)}
    if config.state:
        ours[config.state] = (len(embodiment.state),)
    for key, name in cameras.items():
        ours[key] = (3, embodiment.cameras[name].height, embodiment.cameras[name].width)
    theirs = {
        key: tuple(feature.shape)
        for key, feature in {**settings.input_features, **settings.output_features}.items()
        if feature.type is not FeatureType.LANGUAGE
    }
    lines = [
        f"{key}: {config.path!r} has {theirs.get(key, 'no such feature')}, "
        f"{embodiment.name!r} has {ours.get(key, 'nothing for it')}"
        for key in sorted({*ours, *theirs})
        if ours.get(key) != theirs.get(key)
    ]
    if lines:
        listing = "\n  ".join(lines)
        raise EmbodimentMismatch(
            f"The checkpoint does not fit the embodiment:\n  {listing}\nGive the embodiment it "
            "was trained on, or a checkpoint made for this one; LerobotPolicyConfig.state is the "
            "state's key ('': the policy sees no state)."
        )


def _read_history(path: str, settings: PreTrainedConfig) -> tuple[bool, int]:
    """Whether inputs carry a time axis, and how many steps are on it.

    LeRobot stacks what `observation_delta_indices` asks for; None means no time axis.
    """
    steps = settings.observation_delta_indices
    if steps is None:
        return False, 1
    if list(steps) != list(range(1 - len(steps), 1)):
        raise CheckpointError(
            f"{path!r}: a {settings.type!r} policy sees the observation steps {list(steps)}; only "
            "the latest steps in a row can be given."
        )
    return True, len(steps)
