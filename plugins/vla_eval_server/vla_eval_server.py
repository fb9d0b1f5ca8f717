"""Our checkpoints as a model server of the public harness vla-eval (allenai, 0.4).

    python plugins/vla_eval_server/vla_eval_server.py --args.checkpoint runs/mine \
        --args.world libero --args.cameras '{"front": "agentview", "wrist": "wrist"}' \
        --address 127.0.0.1:8000
    vla-eval run --server ws://127.0.0.1:8000 --config ...

The harness keeps the chunk: a request comes when `execute` rows have been used up.
"""

from collections import deque
from typing import Any

import numpy as np
from PIL import Image
from vla_eval.model_servers.base import SessionContext
from vla_eval.model_servers.predict import PredictModelServer
from vla_eval.model_servers.serve import run_server
from vla_eval.specs import IMAGE_RGB, LANGUAGE, DimSpec
from vla_eval.types import Action
from vla_eval.types import Observation as Message

from vla.contract import Policy
from vla.errors import ServingError
from vla.runtime.controller import chunk_seed, stack_history
from vla.types import Observation


class PolicyModelServer(PredictModelServer):
    """Any `vla.contract.Policy` behind vla-eval's protocol.

    Args:
        policy: answers.
        cameras: the harness's name of each of our cameras; those not named keep their name.
        execute: rows of a plan that are run before the next.
        params: what the benchmark is asked to send (its own parameter names).
    """

    def __init__(
        self,
        policy: Policy,
        *,
        cameras: dict[str, str] | None = None,
        execute: int = 8,
        params: dict[str, Any] | None = None,
    ):
        super().__init__(chunk_size=execute)
        self._policy = policy
        self._cameras = {name: name for name in policy.embodiment.cameras} | (cameras or {})
        self._params = params or {}
        self._seen: dict[str, deque[Observation]] = {}

    async def on_episode_start(self, config: dict[str, Any], ctx: SessionContext) -> None:
        """Forget the session's last episode."""
        await super().on_episode_start(config, ctx)
        self._seen[ctx.session_id] = deque(maxlen=self._policy.history)

    def predict(self, obs: Message, ctx: SessionContext) -> Action:
        """The plan, float32 (H, A), in the policy's own units; the harness cuts it.

        Raises:
            ServingError: when a camera or the state is missing or of the wrong size.
        """
        seen = self._seen.setdefault(ctx.session_id, deque(maxlen=self._policy.history))
        # Ticks between two plans are not shown to us: history reaches over plans.
        seen.append(self._read(obs, ctx.step))
        observation = stack_history(list(seen), steps=self._policy.history)
        (chunk,) = self._policy.act([observation], seeds=[chunk_seed(0, ctx.step)])
        return {"actions": chunk.actions}

    def get_action_spec(self) -> dict[str, DimSpec]:
        """The policy's axes by their own names; vla-eval compares, we do not translate."""
        axes = self._policy.embodiment.action
        names = ", ".join(axis.name for axis in axes)
        return {"raw": DimSpec("raw", len(axes), "raw", description=names)}

    def get_observation_spec(self) -> dict[str, DimSpec]:
        """Pictures, words and, where the policy has one, the state."""
        size = len(self._policy.embodiment.state)
        spec = {"image": IMAGE_RGB, "language": LANGUAGE}
        return {**spec, "state": DimSpec("state", size, "raw")} if size else spec

    def get_observation_params(self) -> dict[str, Any]:
        """What the benchmark is asked to send."""
        return self._params

    def _read(self, message: Message, step: int) -> Observation:
        body = self._policy.embodiment
        offered = message.get("images", {})
        images = {}
        for name, camera in body.cameras.items():
            key = self._cameras[name]
            if key not in offered:
                raise ServingError(
                    f"Camera {name!r} ({key!r} there) is missing; the benchmark sends "
                    f"{', '.join(sorted(offered)) or 'none'}. Map names with cameras."
                )
            picture = np.asarray(offered[key], np.uint8)
            if picture.shape[:2] != (camera.height, camera.width):
                resized = Image.fromarray(picture).resize(
                    (camera.width, camera.height), Image.Resampling.LANCZOS
                )
                picture = np.asarray(resized)
            images[name] = picture[None]
        state = np.asarray(message.get("state", ()), np.float32).reshape(-1)
        if state.size != len(body.state):
            raise ServingError(
                f"The state has {state.size} numbers; {body.name} {len(body.state)}."
            )
        return Observation(
            images=images,
            state=state[None],
            instruction=str(message.get("task_description", "")),
            time=step / body.hz,
        )


class CheckpointModelServer(PolicyModelServer):
    """A checkpoint of ours or of LeRobot's, for vla-eval's command line.

    Args:
        checkpoint: a run's folder, one checkpoint, a LeRobot policy, or ws://HOST:PORT.
        world: kind of the world whose body a checkpoint without one of its own gets.
        cameras, execute: see PolicyModelServer.
        device: torch device, or "auto".
        params: what the benchmark is asked to send, e.g. {"send_state": true}.
    """

    def __init__(
        self,
        checkpoint: str,
        world: str = "libero",
        cameras: dict[str, str] | None = None,
        execute: int = 8,
        device: str = "auto",
        params: dict[str, Any] | None = None,
    ):
        from configs.restoring import load_policy
        from configs.schemas import GROUPS
        from vla.errors import choose

        body = choose("world", world, GROUPS["world"])().embodiment()
        policy, _ = load_policy(checkpoint, device=device, embodiment=body)
        super().__init__(policy, cameras=cameras, execute=execute, params=params)


if __name__ == "__main__":
    run_server(CheckpointModelServer)
