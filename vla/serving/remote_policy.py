"""A policy that lives behind a websocket: the robot's PC needs neither torch nor weights."""

import asyncio
import itertools
import ssl
import threading
import weakref
from collections.abc import Coroutine, Sequence
from typing import Any

import aiohttp

from vla.errors import ServingError
from vla.serving.codec import LIMIT, ProtocolError, pack, unpack
from vla.serving.messages import Handshake, Request, fit_observation, read_answer
from vla.types import ActionChunk, Observation

TIMEOUT_S = 10.0
CLOSED = (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED)
TOO_BIG = 1009
GOODBYE_S = 0.2
"""How long to wait for the server's half of a goodbye."""
SETTLE_S = 0.1
"""A wart of aiohttp: it does not tell when TLS has ended, so that the last goodbye waits this
long, as its manual advises ("Graceful shutdown")."""
REFUSALS = {
    401: "the token is missing or wrong; set VLA_TOKEN to the server's",
    503: "it has no place for another caller, or is stopping",
}


class RemotePolicy:
    """Asks a `vla serve` for plans; a vla.contract.Policy. Safe to call from any thread.

    The answer to equal observations and seeds is that of the policy behind the server. A
    connection that was lost is made anew once per call, and only to the very same policy.

    Attributes:
        embodiment, history: the served policy's.
        weights_sha256: of the served policy's weights file.
    """

    def __init__(self, url: str, *, token: str = "", timeout_s: float = TIMEOUT_S):
        """Connect and learn which policy is served.

        Args:
            url: "ws://HOST:PORT", or "wss://HOST:PORT" with TLS.
            token: the server's, "" for none.
            timeout_s: longest a call may take, connecting included, seconds.

        Raises:
            ServingError: when nobody answers, the token is refused, or the server is another.
        """
        self._lock, self._numbers = threading.Lock(), itertools.count(1)
        self._url, self._timeout = url, timeout_s
        self._loop = asyncio.new_event_loop()
        thread = threading.Thread(target=self._loop.run_forever, name="remote policy", daemon=True)
        thread.start()
        self._link = Link(url, token)
        self._close = weakref.finalize(self, shut_down, self._loop, thread, self._link)
        try:
            handshake = self._wait_for(self._link.connect(), "connect")
        except ServingError:
            self._close()
            raise
        self._handshake = handshake
        self.embodiment, self.history = handshake.embodiment, handshake.history
        self.weights_sha256 = handshake.weights_sha256

    def act(
        self, observations: Sequence[Observation], *, seeds: Sequence[int]
    ) -> list[ActionChunk]:
        """One checked plan per observation; see vla.contract.Policy.act.

        Raises:
            ShapeError: when an observation does not fit the policy; nothing is sent then.
            ServingError: when the server is late, gone, refuses, or sends what is no plan.
        """
        if not observations:
            return []
        body = self.embodiment
        request = Request(
            number=next(self._numbers),
            observations=[fit_observation(o, body, history=self.history) for o in observations],
            seeds=[int(seed) for seed in seeds],
            wait_s=self._timeout,
        )
        frame = pack(request.to_message())
        with self._lock:
            answer = self._wait_for(self._link.ask(frame), "answer")
            try:
                return read_answer(unpack(answer), request, self._handshake)
            except ProtocolError:
                self._wait_for(self._link.drop(), "close")
                raise

    def close(self) -> None:
        """Leave the server; idempotent, and done at the end of the process anyway."""
        self._close()

    def _wait_for[T](self, work: Coroutine[Any, Any, T], what: str) -> T:
        """Do `work` in the link's thread. Raises ServingError after the timeout."""

        async def within_time() -> T:
            try:
                async with asyncio.timeout(self._timeout):
                    return await work
            except TimeoutError:
                raise ServingError(
                    f"{self._url} did not {what} within {self._timeout:g} s."
                ) from None

        if self._loop.is_closed():
            work.close()
            raise ServingError(f"The policy at {self._url} was closed; make a new one.")
        result = asyncio.run_coroutine_threadsafe(within_time(), self._loop)
        try:
            return result.result()
        finally:
            result.cancel()  # when this thread was interrupted, nobody wants the answer


class Link:
    """The connection of a RemotePolicy; its methods run in one event loop."""

    def __init__(self, url: str, token: str):
        """Nothing is sent before `connect`."""
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._session: aiohttp.ClientSession | None = None
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._incoming: asyncio.Task[aiohttp.WSMessage] | None = None
        self._handshake: Handshake | None = None

    async def connect(self) -> Handshake:
        """Open the connection; the server must be the one of the first time.

        Raises:
            ServingError: with the reason and, where there is one, the remedy.
        """
        await self.drop()
        session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None))
        self._session = session
        try:
            socket = self._socket = await session.ws_connect(
                self._url,
                headers=self._headers,
                max_msg_size=LIMIT,
                ssl=ssl.create_default_context(),  # it heeds SSL_CERT_FILE, aiohttp's does not
                timeout=aiohttp.ClientWSTimeout(ws_close=GOODBYE_S),
            )
            message = await socket.receive()
            if message.type is not aiohttp.WSMsgType.BINARY:
                raise ProtocolError(f"{self._url} sent no metadata; is it `vla serve`?")
            handshake = Handshake.from_message(unpack(message.data))
        except aiohttp.WSServerHandshakeError as error:
            await self.drop()
            reason = REFUSALS.get(error.status, error.message)
            raise ServingError(f"{self._url} refused ({error.status}): {reason}.") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            await self.drop()
            if isinstance(error, TimeoutError):
                raise
            remedy = "Is `vla serve` running there?"
            if isinstance(error, aiohttp.ClientSSLError):
                remedy = "Name its certificate in SSL_CERT_FILE if you trust it."
            raise ServingError(f"Cannot reach {self._url}: {error}. {remedy}") from error
        except (asyncio.CancelledError, ServingError):
            await self.drop()
            raise
        if self._handshake not in (None, handshake):
            await self.drop()
            raise ServingError(f"{self._url} now serves another policy; start again to use it.")
        self._handshake = handshake
        self._listen(socket)
        return handshake

    def _listen(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Keep reading: aiohttp answers pings and goodbyes only while it does."""
        self._incoming = asyncio.create_task(socket.receive())

    async def ask(self, frame: bytes) -> bytes:
        """Send a request, return its answer; connect at most once on the way.

        Raises:
            ServingError: when the server refuses, or leaves again.
        """
        try:
            for _ in range(2):
                is_new = self._incoming is None or self._incoming.done()
                if is_new:
                    await self.connect()
                answer = await self._exchange(frame)
                if answer is not None:
                    return answer
                if is_new:
                    break
        except (asyncio.CancelledError, ServingError):
            await self.drop()  # a late answer must not be taken for the next one
            raise
        raise ServingError(f"{self._url} closed the connection without an answer.")

    async def _exchange(self, frame: bytes) -> bytes | None:
        """The answer to `frame`; None when the connection turns out to be gone."""
        socket, incoming = self._socket, self._incoming
        assert socket is not None
        assert incoming is not None
        try:
            await socket.send_bytes(frame)
        except ConnectionError:
            return None
        message = await incoming
        if message.type is aiohttp.WSMsgType.BINARY:
            self._listen(socket)
            return message.data
        if message.type is aiohttp.WSMsgType.TEXT:
            raise ServingError(f"{self._url} refused: {message.data}")
        if socket.close_code == TOO_BIG:
            raise ServingError(
                f"{self._url} takes no message of {len(frame)} bytes; raise its megabytes=..."
            )
        if message.type in CLOSED:
            return None
        raise ServingError(f"{self._url} broke the protocol: {message.data}.")

    async def drop(self) -> None:
        """Close the connection, so that the server stops working for it; idempotent."""
        incoming, self._incoming = self._incoming, None
        socket, self._socket = self._socket, None
        session, self._session = self._session, None
        if incoming is not None:
            incoming.cancel()
            await asyncio.wait({incoming})
        if socket is not None:
            await socket.close()
        if session is not None:
            await session.close()


def shut_down(loop: asyncio.AbstractEventLoop, thread: threading.Thread, link: Link) -> None:
    """Close the link, then its event loop and thread."""

    async def leave() -> None:
        await link.drop()
        await asyncio.sleep(SETTLE_S)

    asyncio.run_coroutine_threadsafe(leave(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
