"""Frames by the hundred thousand at a policy server: it neither falls over nor executes anything.

    python -m benchmarks.fuzz_server [--frames 100000] [--seed 0]

The server is the verb's own, in a process of its own, with a plain policy behind it. Frames are
random bytes, messages of ours and of openpi's clients with bytes changed, cut, nested or doubled,
pickles that would make a file, and text; some connections break off in the middle of a frame.
After every thousand an honest caller must get the very plan it got at the beginning. Ends with one
JSON line; exit status 1 when the server died, grew, or something was executed.
"""

import argparse
import asyncio
import json
import os
import pickle
import random
import re
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import aiohttp
import msgpack
import numpy as np

from benchmarks.fault_plans import with_camera
from benchmarks.fault_victims import end, start
from benchmarks.soak import look
from vla.embodiment import Axis, Embodiment
from vla.errors import VlaError
from vla.serving.codec import pack
from vla.serving.messages import Request
from vla.serving.remote_policy import RemotePolicy
from vla.types import Observation

JOINTS = tuple(Axis(name=n, unit="rad", low=-2.0, high=2.0, frame="joint") for n in "abcdef")
BODY = with_camera(Embodiment(name="arm", state=JOINTS, action=JOINTS, cameras={}, hz=50.0))
ROUND, CALLERS = 1000, 12
GROWN = 25.0
"""MB that the server may grow in the second half: by then the allocator has what it keeps."""


class Trap:
    """What a pickle would do, if anybody loaded it."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def observe(seed: int) -> Observation:
    """An honest observation."""
    rng = np.random.default_rng(seed)
    return Observation(
        images={"front": rng.integers(0, 255, (1, 32, 32, 3), np.uint8)},
        state=rng.uniform(-1, 1, (1, 6)).astype(np.float32), instruction="wave", time=1.0,
    )  # fmt: skip


class Frames:
    """Draws frames; `kinds` counts them."""

    def __init__(self, seed: int, trap: Path):
        self._random, self.kinds = random.Random(seed), Counter()
        self._seeds = self._make_seeds(trap)

    def _make_seeds(self, trap: Path) -> list[bytes]:
        seen = observe(0)
        ours = Request(number=1, observations=[seen], seeds=[0], wait_s=5.0).to_message()
        openpi = {"observation/front": seen.images["front"][0],
                  "observation/state": seen.state[0], "prompt": "wave"}  # fmt: skip
        evil = pickle.dumps(Trap(trap))
        return [
            pack(ours),
            pack({**ours, "wait_s": float("nan")}),
            pack(openpi),
            pack({**openpi, "observation/state": np.full(6, np.nan, np.float32)}),
            evil,
            pack({"vla_request": 1, "observations": [evil], "seeds": [0], "wait_s": 1.0}),
            msgpack.packb({b"__ndarray__": True, b"data": evil, b"dtype": "|O", b"shape": [1]}),
            msgpack.packb({"observation/state": {b"__ndarray__": True, b"data": b"",
                                                 b"dtype": "<f4", b"shape": [2**31, 0]}}),
            msgpack.packb(msgpack.ExtType(42, evil)),
            b"\xdd\x7f\xff\xff\xff" * 20,
            b"\x91" * 3000,
        ]  # fmt: skip

    def draw(self) -> bytes | str:
        """The next one."""
        kind = self._random.choice(("bytes", "seed", "changed", "changed", "cut", "joined", "text"))
        self.kinds[kind] += 1
        frame = bytearray(self._random.choice(self._seeds))
        if kind == "bytes":
            return self._random.randbytes(int(10 ** self._random.uniform(0, 4)))
        if kind == "text":
            return self._random.choice(("", "{}", "__import__('os').system('id')", "\x00" * 99))
        if kind == "changed":
            for _ in range(int(10 ** self._random.uniform(0, 2))):
                frame[self._random.randrange(len(frame))] = self._random.randrange(256)
        elif kind == "cut":
            frame = frame[: self._random.randrange(len(frame) + 1)]
        elif kind == "joined":
            at = self._random.randrange(len(frame) + 1)
            frame[at:at] = self._random.choice(self._seeds)
        return bytes(frame)


async def send_round(url: str, frames: Frames, count: int) -> Counter:
    """`count` frames from `CALLERS` at a time; how the server answered."""
    shares = [count // CALLERS + (number < count % CALLERS) for number in range(CALLERS)]
    return sum(await asyncio.gather(*(send(url, frames, share) for share in shares)), Counter())


async def send(url: str, frames: Frames, count: int) -> Counter:
    """`count` frames one by one, over as many connections as it takes."""
    said: Counter[str] = Counter()
    async with aiohttp.ClientSession() as session:
        while sum(said.values()) < count:
            try:
                socket = await session.ws_connect(url, max_msg_size=0)
            except aiohttp.WSServerHandshakeError as error:
                if error.status != 503:
                    raise
                await asyncio.sleep(0.05)  # those who left have not all been noticed yet
                continue
            async with socket:
                await socket.receive()  # the metadata
                while sum(said.values()) < count and await exchange(socket, frames.draw(), said):
                    pass
    return said


async def exchange(
    socket: aiohttp.ClientWebSocketResponse, frame: bytes | str, said: Counter
) -> bool:
    """Send one frame and note the answer; whether the connection goes on."""
    await (socket.send_str(frame) if isinstance(frame, str) else socket.send_bytes(frame))
    if sum(said.values()) % 50 == 49:  # gone in the middle of a request
        said["left"] += 1
        socket._response.close()
        return False
    answer = await socket.receive(timeout=60)
    said[answer.type.name] += 1
    return answer.type is aiohttp.WSMsgType.BINARY


def fuzz(frames: int, seed: int) -> dict:
    """Send them; what happened."""
    trap = Path(tempfile.mkdtemp(prefix="fuzz-")) / "executed"
    server, said, drawn = start("serve", body=BODY.to_json()), Counter(), Frames(seed, trap)
    try:
        url = re.search(r"at (ws://\S+)", server.stdout.readline().decode())[1]
        honest = RemotePolicy(url)
        wanted = honest.act([observe(1)], seeds=[3])[0].actions
        before, halfway, wrong = look(server.pid), None, 0
        while (sent := sum(drawn.kinds.values())) < frames:
            if server.poll() is not None:
                raise VlaError(f"The server died (exit code {server.returncode}).")
            said += asyncio.run(send_round(url, drawn, min(ROUND, frames - sent)))
            plan = honest.act([observe(1)], seeds=[3])[0].actions
            wrong += not np.array_equal(plan, wanted)
            if halfway is None and 2 * sent >= frames:
                halfway = look(server.pid)
        after = look(server.pid)
        honest.close()
    finally:
        end(server)
    return {
        "frames": sent,
        "kinds": dict(drawn.kinds),
        "answers": dict(said),
        "executed": trap.exists(),
        "wrong_plans_for_honest_callers": wrong,
        "grown": {key: round(after[key] - before[key], 1) for key in before},
        "grown_in_second_half": {k: round(after[k] - (halfway or before)[k], 1) for k in before},
    }


def main() -> None:
    """Fuzz and tell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    begin = time.perf_counter()
    result = fuzz(options.frames, options.seed)
    result |= {"seconds": round(time.perf_counter() - begin, 1), "load": os.getloadavg()[0]}
    sys.stdout.write(json.dumps(result) + "\n")
    bad = result["executed"] or result["wrong_plans_for_honest_callers"]
    raise SystemExit(bool(bad or result["grown_in_second_half"]["memory_mb"] > GROWN))


if __name__ == "__main__":
    main()
