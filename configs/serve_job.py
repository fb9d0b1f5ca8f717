"""The job of `vla serve`."""

from dataclasses import dataclass

from omegaconf import MISSING

from envs.config import WorldConfig
from vla.serving.config import ServingConfig


@dataclass(kw_only=True, slots=True)
class ServeJob(ServingConfig):
    """Let other machines plan with a checkpoint: `vla run checkpoint=ws://HOST:PORT`.

    openpi's clients are answered too. Without a token and TLS only this machine is listened to.

    Attributes:
        checkpoint: a run's folder (its best checkpoint is taken) or one checkpoint.
        world: whose body a checkpoint without one of its own (LeRobot's, a family's) gets.
        device: as for training.
        host, port: where to listen; port=0 lets the system pick one.
        token: callers must show it; read from VLA_TOKEN unless it is given.
        certificate, key: PEM files for TLS; "" for plain text.
        window_ms: how long to wait for other callers' observations before planning.
        batch: most observations planned at once.
        deadline_s: requests older than this are dropped; callers may ask for less.
        megabytes: largest message.
        clients: most callers at a time.
        seed: of plans for callers that send none (openpi's clients).
        openpi_images: openpi key of each camera; cameras not named: "observation/CAMERA".
        openpi_state, openpi_prompt: openpi keys of the state and of the instruction.
    """

    checkpoint: str = MISSING
    world: WorldConfig = MISSING
    device: str = "auto"
