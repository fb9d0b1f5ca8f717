"""A websocket server around a policy; health and metrics over HTTP on the same port.

It speaks to our own `RemotePolicy` and to openpi's clients: metadata on connect, a binary
frame in, a binary frame out; an error is a text frame, then close code 1011.
"""

import asyncio
import hmac
import itertools
import logging
import ssl
import time
from collections.abc import Callable
from typing import Any

from aiohttp import WSMessage, WSMsgType, web

from vla.contract import Policy
from vla.errors import ConfigError, ContractError, ServingError
from vla.serving.batcher import Batcher
from vla.serving.codec import ProtocolError, pack, unpack
from vla.serving.config import ServingConfig
from vla.serving.messages import REQUEST, Handshake, Request, fit_observation, write_answer
from vla.serving.metrics import Metrics
from vla.serving.openpi import Session

log = logging.getLogger(__name__)
HEARTBEAT_S = 20.0
"""Pings between requests; a caller that does not answer one is gone."""
INTERNAL_ERROR = 1011
"""Close code of RFC 6455, section 7.4.1, that openpi's server uses too."""
GOING_AWAY = 1001
GOODBYE_S = 5.0
"""How long a stopping server waits for the requests in progress."""


async def serve(
    policy: Policy,
    config: ServingConfig,
    handshake: Handshake,
    *,
    stop: asyncio.Event,
    ready: Callable[[int], None],
) -> None:
    """Serve until `stop` is set; then let the requests in progress finish.

    Args:
        policy: called in one thread of its own.
        config: address, limits, token and TLS.
        handshake: what callers are told about the policy.
        stop: set it from the event loop's thread, e.g. in a signal handler.
        ready: called once with the port as soon as callers can connect.

    Raises:
        ConfigError: when the address cannot be listened at, or the TLS files cannot be read.
    """
    server = PolicyServer(policy, config, handshake)
    runner = web.AppRunner(
        server.app, access_log=None, handler_cancellation=True, shutdown_timeout=GOODBYE_S
    )
    await runner.setup()
    work = asyncio.create_task(server.batcher.run())
    stopping = asyncio.create_task(stop.wait())
    try:
        context = load_tls(config)
        site = web.TCPSite(runner, config.host, config.port, ssl_context=context)
        try:
            await site.start()
        except OSError as error:
            where = f"{config.host}:{config.port}"
            raise ConfigError(f"Cannot listen at {where}: {error}. Try another port=...") from error
        ready(runner.addresses[0][1])
        await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()  # a bug of ours: say so rather than serve nobody
    finally:
        server.stopping.set()
        await runner.cleanup()
        work.cancel()
        stopping.cancel()
        await asyncio.wait({work, stopping})


def load_tls(config: ServingConfig) -> ssl.SSLContext | None:
    """The server's side of TLS, None for plain text. Raises ConfigError for unusable files."""
    if not config.certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_cert_chain(config.certificate, config.key)
    except OSError as error:  # SSLError is one
        files = f"certificate={config.certificate} with key={config.key}"
        raise ConfigError(f"Cannot use {files}: {error}.") from error
    return context


class PolicyServer:
    """The callers' side of a server: who may enter, and what each is told.

    Attributes:
        app: the aiohttp application.
        batcher: plans for everybody; its `run` must be running.
        metrics: what /metrics shows.
        stopping: once set, callers get the answer they wait for and a goodbye.
    """

    def __init__(self, policy: Policy, config: ServingConfig, handshake: Handshake):
        """Prepare to serve `policy`, which `handshake` describes."""
        self._config, self._handshake = config, handshake
        self._body = policy.embodiment
        self._limit = config.megabytes * 2**20
        self._callers = itertools.count()
        self.stopping = asyncio.Event()
        self.metrics = Metrics()
        self.batcher = Batcher(
            policy,
            window_s=config.window_ms / 1e3,
            batch=config.batch,
            metrics=self.metrics,
        )
        self.app = web.Application()
        self.app.router.add_get("/healthz", self._tell_health)
        self.app.router.add_get("/metrics", self._tell_metrics)
        self.app.router.add_get("/{path:.*}", self._meet)

    async def _tell_health(self, request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _tell_metrics(self, request: web.Request) -> web.Response:
        self._check_token(request)
        return web.Response(text=self.metrics.to_text())

    def _check_token(self, request: web.Request) -> None:
        """Raise 401 for a wrong token; openpi's clients call theirs an Api-Key."""
        if self._config.token:
            kind, _, shown = request.headers.get("Authorization", "").partition(" ")
            equal = hmac.compare_digest(
                shown.encode(errors="replace"), self._config.token.encode(errors="replace")
            )
            if not equal or kind.lower() not in ("bearer", "api-key"):
                raise web.HTTPUnauthorized(text="Show the token: Authorization: Bearer TOKEN\n")

    async def _meet(self, request: web.Request) -> web.WebSocketResponse:
        """One caller, from the handshake to the end."""
        self._check_token(request)
        if "Origin" in request.headers:  # only browsers send it: a web page must not drive robots
            raise web.HTTPForbidden(text="Web pages may not connect.\n")
        if self.metrics.clients >= self._config.clients:
            raise web.HTTPServiceUnavailable(text="No place for another caller.\n")
        socket = web.WebSocketResponse(
            timeout=GOODBYE_S,
            max_msg_size=self._limit,
            compress=False,
            heartbeat=HEARTBEAT_S,
        )
        self.metrics.clients += 1
        try:
            await socket.prepare(request)
            await self._talk(socket)
        except ConnectionError as error:
            log.info("A caller was lost while being answered: %s", error)
        finally:
            self.metrics.clients -= 1
        return socket

    async def _talk(self, socket: web.WebSocketResponse) -> None:
        """Answer one request after the other; stop working when the caller leaves."""
        caller = next(self._callers)
        session = Session(self._config, self._body, history=self._handshake.history)
        await socket.send_bytes(pack(self._handshake.to_message()))
        incoming = asyncio.create_task(socket.receive())
        stopping = asyncio.create_task(self.stopping.wait())
        answer: asyncio.Task[bytes] | None = None
        code = GOING_AWAY
        try:
            while True:
                await asyncio.wait({incoming, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if not incoming.done():
                    break
                message = incoming.result()
                if message.type not in (WSMsgType.BINARY, WSMsgType.TEXT):
                    return
                incoming = asyncio.create_task(socket.receive())
                answer = asyncio.create_task(self._answer(message, session, caller))
                await asyncio.wait({answer, incoming}, return_when=asyncio.FIRST_COMPLETED)
                if not answer.done() and incoming.result().type is not WSMsgType.BINARY:
                    return
                await asyncio.wait({answer})
                if error := answer.exception():
                    await socket.send_str(self._explain(error))
                    code = INTERNAL_ERROR
                    break
                await socket.send_bytes(answer.result())
        finally:
            for task in (incoming, stopping, answer):
                if task:
                    task.cancel()
        await asyncio.wait({incoming})  # aiohttp waits for the caller's goodbye only then
        await socket.close(code=code)

    def _explain(self, error: BaseException) -> str:
        """What the caller did wrong, but nothing about this machine."""
        self.metrics.refused += 1
        if isinstance(error, ContractError | ServingError):
            return str(error)
        log.error("A request failed.", exc_info=error)
        return "The server failed; its log says why."

    async def _answer(self, frame: WSMessage, session: Session, caller: int) -> bytes:
        """The reply to one request. Raises what `_refuse` tells."""
        began = time.monotonic()
        self.metrics.requests += 1
        if frame.type is WSMsgType.TEXT:
            raise ProtocolError("Send binary frames of msgpack.")
        message: Any = unpack(frame.data, limit=self._limit)
        if not isinstance(message, dict):
            raise ProtocolError(f"A request is a map, not a {type(message).__name__}.")
        wait_s, request = self._config.deadline_s, None
        if REQUEST in message:
            request = Request.from_message(message)
            wait_s = min(wait_s, request.wait_s)
            observations, seeds = request.observations, request.seeds
        else:
            observation, seed = session.observe(message, time=began)
            observations, seeds = [observation], [seed]
        history = self._handshake.history
        fitting = [fit_observation(seen, self._body, history=history) for seen in observations]
        chunks = await self.batcher.plan(fitting, seeds, caller=caller, wait_s=wait_s)
        spent = time.monotonic() - began
        if request:
            return pack(write_answer(request.number, chunks, infer_s=spent))
        return pack({"actions": chunks[0].actions, "server_timing": {"infer_ms": spent * 1e3}})
