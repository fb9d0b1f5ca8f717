"""What the messages say: metadata of the handshake, requests, answers, and their checks.

Each side trusts nothing that the other sends: whatever passes these functions has the
shapes, dtypes and finite values that the embodiment asks for.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np

from vla.embodiment import Embodiment
from vla.errors import ContractError, ShapeError
from vla.serving.codec import ProtocolError
from vla.types import ActionChunk, Float32, Observation, check_array

PROTOCOL = 2
REQUEST = "vla_request"
"""Key that only our own clients send; it holds the request's number."""


@dataclass(frozen=True, kw_only=True)
class Handshake:
    """The first message of a server: which policy answers here.

    Attributes:
        embodiment: of the policy.
        history: observation steps T it needs.
        horizon: most rows H of its plans.
        weights_sha256: of its weights file.
    """

    embodiment: Embodiment
    history: int
    horizon: int
    weights_sha256: str

    def to_message(self) -> dict[str, Any]:
        """Plain values; openpi's clients pass them on to their user."""
        return {
            "vla_protocol": PROTOCOL,
            "contract": self.embodiment.hash,
            "embodiment": self.embodiment.to_json(),
            "history": self.history,
            "horizon": self.horizon,
            "weights_sha256": self.weights_sha256,
        }

    @classmethod
    def from_message(cls, message: Any) -> "Handshake":
        """Rebuild and verify. Raises ProtocolError for other servers and versions."""
        if not isinstance(message, dict) or "vla_protocol" not in message:
            raise ProtocolError("The server is not `vla serve`: its metadata names no protocol.")
        if message["vla_protocol"] != PROTOCOL:
            raise ProtocolError(
                f"The server speaks protocol {message['vla_protocol']!r}, this client {PROTOCOL}; "
                "install the same version on both sides."
            )
        body = message.get("embodiment")
        try:
            embodiment = Embodiment.from_json(body if isinstance(body, dict) else {})
            contract = embodiment.hash
        except (ContractError, TypeError, ValueError) as error:
            raise ProtocolError(f"The server's embodiment cannot be read: {error}") from error
        if contract != message.get("contract"):
            raise ProtocolError(f"The server's embodiment has hash {contract}, not its contract's.")
        counts = [message.get(name) for name in ("history", "horizon")]
        weights = message.get("weights_sha256")
        if not all(type(n) is int and n > 0 for n in counts) or not isinstance(weights, str):
            raise ProtocolError("The server's history, horizon or weights_sha256 is missing.")
        history, horizon = counts
        return cls(embodiment=embodiment, history=history, horizon=horizon, weights_sha256=weights)


@dataclass(frozen=True, kw_only=True)
class Request:
    """Observations to plan for, a seed for each, and the seconds the caller will wait."""

    number: int
    observations: list[Observation]
    seeds: list[int]
    wait_s: float

    def to_message(self) -> dict[str, Any]:
        """Plain values and arrays."""
        return {
            REQUEST: self.number,
            "seeds": self.seeds,
            "wait_s": self.wait_s,
            "observations": [
                {
                    "images": dict(seen.images),
                    "state": seen.state,
                    "instruction": seen.instruction,
                    "time": seen.time,
                    "depth": seen.depth,
                    "pending": seen.pending,
                    "tentative": seen.tentative,
                }
                for seen in self.observations
            ],
        }

    @classmethod
    def from_message(cls, message: dict[str, Any]) -> "Request":
        """Rebuild and verify. Raises ProtocolError, or ShapeError for an observation."""
        number, wait = message[REQUEST], message.get("wait_s")
        seeds, seen = message.get("seeds"), message.get("observations")
        if type(number) is not int or not _is_finite(wait) or not wait > 0:
            raise ProtocolError("A request needs its number and `wait_s` above 0.")
        if not (isinstance(seeds, list) and isinstance(seen, list) and len(seeds) == len(seen)):
            raise ProtocolError("A request needs as many seeds as observations.")
        if not seeds or not all(type(seed) is int and 0 <= seed < 2**63 for seed in seeds):
            raise ProtocolError("A request needs seeds within 0 to 2**63 - 1, at least one.")
        observations = [_read_observation(entry) for entry in seen]
        return cls(number=number, observations=observations, seeds=seeds, wait_s=wait)


def _is_finite(value: Any) -> TypeGuard[float]:
    return type(value) in (int, float) and math.isfinite(value)


def _read_observation(entry: Any) -> Observation:
    keys = {"images", "state", "instruction", "time", "depth", "pending", "tentative"}
    if not isinstance(entry, dict) or set(entry) != keys:
        raise ProtocolError(f"An observation needs exactly the keys {sorted(keys)}.")
    for name in ("images", "depth"):
        if not isinstance(entry[name], dict) or not all(isinstance(k, str) for k in entry[name]):
            raise ProtocolError(f"Observation.{name} must map camera names to arrays.")
    if not isinstance(entry["instruction"], str) or not _is_finite(entry["time"]):
        raise ProtocolError("An observation needs a text `instruction` and a finite `time`.")
    return Observation(**{**entry, "time": float(entry["time"])})


def fit_observation(seen: Observation, body: Embodiment, *, history: int) -> Observation:
    """`seen` without cameras that `body` lacks.

    Raises:
        ShapeError: when the steps, the axes, a camera or a picture's size are not the body's.
    """
    check_array("Observation.state", seen.state, dtype=np.float32, shape=(history, len(body.state)))
    for name, camera in body.cameras.items():
        if name not in seen.images:
            have = ", ".join(sorted(seen.images)) or "none"
            raise ShapeError(f"Camera {name!r} is missing; the observation has: {have}.")
        shape = (history, camera.height, camera.width, 3)
        check_array(f"image {name!r}", seen.images[name], dtype=np.uint8, shape=shape)
    for what, rows in (("pending", seen.pending), ("tentative", seen.tentative)):
        if rows is not None:
            shape = (None, len(body.action))
            check_array(f"Observation.{what}", rows, dtype=np.float32, shape=shape)
    return Observation(
        images={name: seen.images[name] for name in body.cameras},
        state=seen.state,
        instruction=seen.instruction,
        time=seen.time,
        depth={name: seen.depth[name] for name in body.cameras if name in seen.depth},
        pending=seen.pending,
        tentative=seen.tentative,
    )


def write_answer(number: int, chunks: Sequence[ActionChunk], *, infer_s: float) -> dict[str, Any]:
    """The message that answers a request."""
    return {
        REQUEST: number,
        "actions": [chunk.actions for chunk in chunks],
        "server_timing": {"infer_ms": infer_s * 1e3},
    }


def read_answer(message: Any, request: Request, handshake: Handshake) -> list[ActionChunk]:
    """The plans of an answer, due from their observations' times on.

    Raises:
        ProtocolError: unless there is one finite float32 (h, A) plan per observation with
            1 <= h <= H.
    """
    if not isinstance(message, dict) or message.get(REQUEST) != request.number:
        raise ProtocolError(f"The server did not answer request {request.number}.")
    plans = message.get("actions")
    if not isinstance(plans, list) or len(plans) != len(request.observations):
        raise ProtocolError(f"The server did not send {len(request.observations)} plans.")
    return [
        ActionChunk(actions=_check_plan(plan, handshake), time=seen.time)
        for plan, seen in zip(plans, request.observations, strict=True)
    ]


def _check_plan(plan: Any, handshake: Handshake) -> Float32:
    axes = len(handshake.embodiment.action)
    try:
        check_array("plan", plan, dtype=np.float32, shape=(None, axes))
    except ShapeError as error:
        raise ProtocolError(f"The server sent an unusable plan: {error}") from error
    if not 1 <= len(plan) <= handshake.horizon:
        raise ProtocolError(
            f"The server sent a plan of {len(plan)} rows; its horizon is {handshake.horizon}."
        )
    if not np.isfinite(plan).all():
        raise ProtocolError("The server sent a plan with NaN or inf; its policy is broken.")
    return plan
