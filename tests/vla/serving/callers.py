"""A small policy, a server in a thread, and a caller that works as openpi's client does."""

import asyncio
import hashlib
import threading

import aiohttp
import msgpack
import numpy as np

from tests.vla.evaluation.fakes import EMBODIMENT
from vla.errors import ShapeError
from vla.serving.messages import Handshake
from vla.serving.server import serve
from vla.types import ActionChunk, Observation

HORIZON, AXES = 4, len(EMBODIMENT.action)
HANDSHAKE = Handshake(embodiment=EMBODIMENT, history=1, horizon=HORIZON, weights_sha256="abc")


def plan(observation, seed):
    """What the policy answers: (H, A) float32, of all that it was given."""
    digest = hashlib.sha256(observation.instruction.encode())
    for array in (observation.images["top"], observation.state):
        digest.update(array.tobytes())
    rng = np.random.default_rng([seed, int.from_bytes(digest.digest()[:8], "little")])
    return rng.uniform(-0.2, 0.2, (HORIZON, AXES)).astype(np.float32)


class GatedPolicy:
    """Plans only while `gate` is open; says how large its batches were."""

    def __init__(self, history=1):
        self.embodiment, self.history = EMBODIMENT, history
        self.gate, self.entered = threading.Event(), threading.Event()
        self.gate.set()
        self.batches, self.seen = [], []

    def act(self, observations, *, seeds):
        self.entered.set()
        assert self.gate.wait(5)
        self.batches.append(len(observations))
        self.seen += observations
        words = {observation.instruction for observation in observations}
        if "unknown" in words:
            raise ShapeError("The word 'unknown' is not known.")
        if "crash" in words:
            raise ZeroDivisionError("secret /home/operator")
        if "nan" in words:
            actions = np.full((HORIZON, AXES), np.nan, np.float32)
            return [ActionChunk(actions=actions, time=0.0) for _ in observations]
        return [
            ActionChunk(actions=plan(observation, seed), time=observation.time)
            for observation, seed in zip(observations, seeds, strict=True)
        ]


class Running:
    """A server in a thread, on a port of the system's choice."""

    def __init__(self, policy, config, handshake=HANDSHAKE):
        self._ready, self.error = threading.Event(), None
        self._thread = threading.Thread(
            target=self._run, args=(policy, config, handshake), daemon=True
        )
        self._thread.start()
        assert self._ready.wait(5)
        if self.error is None:
            self.address = f"127.0.0.1:{self.port}"
            self.url = f"ws://{self.address}"

    def _run(self, policy, config, handshake):
        async def main():
            self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
            await serve(policy, config, handshake, stop=self._stop, ready=self._note)

        try:
            asyncio.run(main())
        except Exception as error:  # noqa: BLE001  shown by the test
            self.error = error
            self._ready.set()

    def _note(self, port):
        self.port = port
        self._ready.set()

    def stop(self, wait=True):
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        if wait:
            self._thread.join(8)
            assert not self._thread.is_alive()


def observe(seed=0, instruction="push", time=1.0, steps=1):
    rng = np.random.default_rng(seed)
    return Observation(
        images={"top": rng.integers(0, 255, (steps, 16, 16, 3), np.uint8)},
        state=rng.uniform(-1, 1, (steps, 2)).astype(np.float32),
        instruction=instruction,
        time=time,
    )


def pack_array(value):
    """The hook of openpi's msgpack_numpy, written anew from its wire form."""
    if isinstance(value, np.ndarray):
        return {b"__ndarray__": True, b"data": value.tobytes(),
                b"dtype": value.dtype.str, b"shape": value.shape}  # fmt: skip
    raise TypeError(type(value))


def unpack_array(value):
    if b"__ndarray__" in value:
        data, dtype = value[b"data"], np.dtype(value[b"dtype"])
        return np.ndarray(buffer=data, dtype=dtype, shape=value[b"shape"])
    return value


SOCKET = 0.05
"""Seconds: asyncio closes the socket of a closed connection a moment later."""


class OpenpiCaller:
    """Connect, read the metadata, send a map, read a map: what WebsocketClientPolicy does."""

    def __init__(self, url, headers=None):
        self._loop = asyncio.new_event_loop()
        try:
            self._loop.run_until_complete(self._connect(url, headers))
        except aiohttp.WSServerHandshakeError:
            self._loop.close()
            raise

    async def _connect(self, url, headers):
        self._session = aiohttp.ClientSession()
        try:
            self._socket = await self._session.ws_connect(url, headers=headers, max_msg_size=0)
        except aiohttp.WSServerHandshakeError:
            await self._session.close()
            await asyncio.sleep(SOCKET)
            raise
        self.metadata = msgpack.unpackb(await self._socket.receive_bytes())

    def send(self, frame):
        send = self._socket.send_str if isinstance(frame, str) else self._socket.send_bytes
        self._loop.run_until_complete(send(frame))

    def receive(self):
        async def receive():
            async with asyncio.timeout(5):
                return await self._socket.receive()

        return self._loop.run_until_complete(receive())

    def infer(self, observation):
        self.send(msgpack.packb(observation, default=pack_array))
        message = self.receive()
        if message.type is not aiohttp.WSMsgType.BINARY:
            raise RuntimeError(f"Error in inference server:\n{message.data}")
        return msgpack.unpackb(message.data, object_hook=unpack_array)

    def close_code(self):
        self.receive()
        return self._socket.close_code

    def leave(self, *, politely):
        async def leave():
            if politely:
                await self._socket.close()
            await self._session.close()
            await self._socket.close()  # after the connection itself: nothing more is sent
            await asyncio.sleep(SOCKET)

        self._loop.run_until_complete(leave())
        self._loop.close()
