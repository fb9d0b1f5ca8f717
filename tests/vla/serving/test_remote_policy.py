"""A policy behind a socket is the policy itself; a server that misbehaves is found out."""

import asyncio
import datetime
import ipaddress
import socket
import threading
from dataclasses import replace

import numpy as np
import pytest

msgpack = pytest.importorskip("msgpack", reason="msgpack is not installed")
aiohttp = pytest.importorskip("aiohttp", reason="aiohttp is not installed")

from aiohttp import web  # noqa: E402

from tests.vla.serving.callers import HANDSHAKE, HORIZON, GatedPolicy, observe, plan  # noqa: E402
from vla.contract import Policy  # noqa: E402
from vla.errors import ServingError, ShapeError  # noqa: E402
from vla.runtime.config import ControlConfig  # noqa: E402
from vla.serving.codec import ProtocolError, pack, unpack  # noqa: E402
from vla.serving.messages import Handshake  # noqa: E402


def test_it_answers_as_the_policy_does(start, remote):
    policy = GatedPolicy()
    far = remote(start(policy).url)
    assert isinstance(far, Policy)
    assert (far.embodiment, far.history) == (policy.embodiment, policy.history)
    assert far.weights_sha256 == "abc"
    rows = {"pending": np.zeros((2, 2), np.float32), "tentative": np.ones((1, 2), np.float32)}
    seen = [observe(0, time=3.0), replace(observe(1), **rows)]
    chunks = far.act(seen, seeds=[5, 2**63 - 1])
    for chunk, observation, seed in zip(chunks, seen, (5, 2**63 - 1), strict=True):
        np.testing.assert_array_equal(chunk.actions, plan(observation, seed))
        assert chunk.time == observation.time
    assert policy.seen[0].tentative is None
    for what, sent in rows.items():
        np.testing.assert_array_equal(getattr(policy.seen[1], what), sent)
    with pytest.raises(ShapeError, match="tentative has shape"):
        far.act([replace(observe(), tentative=np.zeros((1, 3), np.float32))], seeds=[0])
    assert far.act([], seeds=[]) == []


def test_a_controller_drives_it(start, remote):
    near, far = (ControlConfig().build(policy) for policy in (GatedPolicy(), remote(start().url)))
    for step in range(6):
        seen = observe(step, time=step / 10)
        np.testing.assert_array_equal(near(seen), far(seen))


def test_wrong_observations_never_leave(start, remote):
    policy = GatedPolicy()
    far = remote(start(policy).url)
    with pytest.raises(ShapeError, match="state has shape"):
        far.act([observe(steps=2)], seeds=[0])
    with pytest.raises(ShapeError, match="'top' is missing; the observation has: none"):
        far.act([replace(observe(), images={})], seeds=[0])
    assert policy.seen == []


def test_a_late_server_is_given_up_and_asked_anew(start, remote):
    policy = GatedPolicy()
    far = remote(start(policy).url, timeout_s=0.6)
    policy.gate.clear()
    with pytest.raises(ServingError, match=r"did not answer within 0\.6 s|No plan within"):
        far.act([observe()], seeds=[1])
    policy.gate.set()
    (chunk,) = far.act([observe(9)], seeds=[2])  # not the late answer of the first
    np.testing.assert_array_equal(chunk.actions, plan(observe(9), 2))


def test_a_restarted_server_is_found_again(start, remote):
    server = start()
    far = remote(server.url)
    server.stop()
    with pytest.raises(ServingError, match="Is `vla serve` running there"):
        far.act([observe()], seeds=[1])
    start(port=server.port)
    (chunk,) = far.act([observe()], seeds=[1])
    np.testing.assert_array_equal(chunk.actions, plan(observe(), 1))


def test_another_policy_behind_the_same_address_is_refused(start, remote):
    server = start()
    far = remote(server.url)
    server.stop()
    start(port=server.port, handshake=replace(HANDSHAKE, weights_sha256="def"))
    with pytest.raises(ServingError, match="now serves another policy"):
        far.act([observe()], seeds=[1])


def test_plans_that_are_not_finite_are_refused(start, remote):
    with pytest.raises(ProtocolError, match="NaN or inf"):
        remote(start().url).act([observe(instruction="nan")], seeds=[0])


def test_a_token_is_needed_and_a_closed_policy_says_so(start, remote):
    server = start(token="right")
    with pytest.raises(ServingError, match=r"refused \(401\): the token .* VLA_TOKEN"):
        remote(server.url)
    far = remote(server.url, token="right")
    assert len(far.act([observe()], seeds=[0])) == 1
    far.close()
    far.close()
    with pytest.raises(ServingError, match="was closed"):
        far.act([observe()], seeds=[0])


def test_too_large_a_request_is_explained(start, remote):
    far = remote(start(megabytes=1).url)
    with pytest.raises(ServingError, match="megabytes="):
        far.act([observe()] * 1000 + [replace(observe(), instruction="x" * 2**20)],
                seeds=[0] * 1001)  # fmt: skip


@pytest.mark.parametrize("url", ["ws://127.0.0.1:1", "ws://", "http//x", "ws://nowhere.invalid:80"])
def test_nobody_there(remote, url):
    with pytest.raises(ServingError, match="Cannot reach"):
        remote(url)


def answer_with(**changes):
    """A server's answer to request 1, with changes."""
    good = {"vla_request": 1, "actions": [np.zeros((HORIZON, 2), np.float32)]}
    return pack({**good, **changes})


GOOD = HANDSHAKE.to_message()


@pytest.fixture
def fake():
    """fake(metadata, reply) is the URL of a server that sends just these frames."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    runners = []

    async def run(metadata, reply):
        async def meet(request):
            link = web.WebSocketResponse()
            await link.prepare(request)
            await link.send_bytes(metadata)
            async for _ in link:
                if reply is None:
                    break
                await link.send_bytes(reply)
            return link

        app = web.Application()
        app.router.add_get("/", meet)
        runners.append(web.AppRunner(app, shutdown_timeout=0.1))
        await runners[-1].setup()
        await web.TCPSite(runners[-1], "127.0.0.1", 0).start()
        return f"ws://127.0.0.1:{runners[-1].addresses[0][1]}"

    def do(work):
        return asyncio.run_coroutine_threadsafe(work, loop).result(5)

    yield lambda metadata, reply=None: do(run(metadata, reply))
    for runner in runners:
        do(runner.cleanup())
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        (b"\xc1", "Not a message"),
        (pack({"model": "pi0"}), "names no protocol"),
        (pack({**GOOD, "vla_protocol": 99}), "speaks protocol 99"),
        (pack({**GOOD, "contract": "0" * 64}), "not its contract's"),
        (pack({**GOOD, "embodiment": {"name": "x"}}), "cannot be read"),
        (pack({**GOOD, "embodiment": None}), "cannot be read"),
        (pack({**GOOD, "horizon": 0}), "history, horizon"),
        (pack({**GOOD, "history": True}), "history, horizon"),
        (pack({**GOOD, "weights_sha256": None}), "weights_sha256"),
    ],
)
def test_strange_metadata_is_refused(fake, remote, metadata, reason):
    with pytest.raises(ProtocolError, match=reason):
        remote(fake(metadata))


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (b"\xc1", "Not a message"),
        (pack([]), "did not answer request 1"),
        (answer_with(vla_request=2), "did not answer request 1"),
        (answer_with(actions=[]), "did not send 1 plans"),
        (answer_with(actions=np.zeros((1, 4, 2), np.float32)), "did not send 1 plans"),
        (answer_with(actions=[np.zeros((4, 2))]), "float64"),
        (answer_with(actions=[np.zeros((4, 3), np.float32)]), "shape"),
        (answer_with(actions=[np.zeros((5, 2), np.float32)]), "plan of 5 rows; its horizon is 4"),
        (answer_with(actions=[np.zeros((0, 2), np.float32)]), "plan of 0 rows"),
        (answer_with(actions=["x"]), "unusable plan"),
    ],
)
def test_strange_answers_are_refused(fake, remote, reply, reason):
    far = remote(fake(pack(GOOD), reply))
    with pytest.raises(ProtocolError, match=reason):
        far.act([observe()], seeds=[0])


def test_a_server_that_hangs_up_twice_is_given_up(fake, remote):
    far = remote(fake(pack(GOOD)))
    with pytest.raises(ServingError, match="closed the connection without an answer"):
        far.act([observe()], seeds=[0])


def test_a_handshake_comes_back():
    assert Handshake.from_message(unpack(pack(GOOD))) == HANDSHAKE


def test_tls_with_a_certificate_of_one_s_own(start, remote, tmp_path, monkeypatch):
    x509 = pytest.importorskip("cryptography.x509", reason="cryptography is not installed")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "robot")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, secret = tmp_path / "robot.pem", tmp_path / "robot.key"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    server = start(certificate=str(pem), key=str(secret), token="right")
    url = f"wss://{server.address}"
    with pytest.raises(ServingError, match="SSL_CERT_FILE"):  # nobody vouches for it
        remote(url, token="right")
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    assert len(remote(url, token="right").act([observe()], seeds=[0])) == 1
    with socket.create_connection(("127.0.0.1", server.port)) as plain:
        plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert not plain.recv(100).startswith(b"HTTP")
