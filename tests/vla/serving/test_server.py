"""A server on a real socket, seen by callers that behave, and by some that do not."""

import re
import socket
import threading
import time
import urllib.error
import urllib.request

import numpy as np
import pytest

msgpack = pytest.importorskip("msgpack", reason="msgpack is not installed")
aiohttp = pytest.importorskip("aiohttp", reason="aiohttp is not installed")

from tests.vla.serving.callers import (  # noqa: E402
    HANDSHAKE,
    GatedPolicy,
    observe,
    pack_array,
    plan,
)
from vla.errors import ConfigError  # noqa: E402
from vla.runtime.controller import chunk_seed, stack_history  # noqa: E402
from vla.serving.config import ServingConfig  # noqa: E402
from vla.types import Observation  # noqa: E402


def as_openpi(seen):
    return {
        "observation/top": seen.images["top"][0],
        "observation/state": seen.state[0],
        "prompt": seen.instruction,
    }


def get(server, path, **headers):
    request = urllib.request.Request(f"http://{server.address}{path}", headers=headers)
    with urllib.request.urlopen(request, timeout=5) as reply:
        return reply.read().decode()


def read_metric(server, name):
    lines = dict(line.split() for line in get(server, "/metrics").splitlines() if line[0] != "#")
    return float(lines[f"vla_serve_{name}"])


def is_listening(server):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", server.port)) == 0


def wait_for(condition):
    until = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)


def test_an_openpi_client_gets_plans(start, connect):
    caller = connect(start(seed=7).url)
    assert caller.metadata["contract"] == HANDSHAKE.embodiment.hash
    for number in range(3):
        seen = observe(number)
        reply = caller.infer(as_openpi(seen))
        np.testing.assert_array_equal(reply["actions"], plan(seen, chunk_seed(7, number)))
        assert reply["server_timing"]["infer_ms"] > 0


def test_openpi_keys_may_be_renamed_nested_and_channels_first(start, connect):
    server = start(
        openpi_images={"top": "images/cam_high"}, openpi_state="state", openpi_prompt="task"
    )
    seen = observe()
    picture = np.ascontiguousarray(seen.images["top"][0].transpose(2, 0, 1))
    message = {
        "images": {"cam_high": picture}, "state": seen.state[0].tolist(), "task": "push"
    }  # fmt: skip
    reply = connect(server.url).infer(message)
    np.testing.assert_array_equal(reply["actions"], plan(seen, chunk_seed(0, 0)))


def test_two_callers_never_mix_state(start, connect):
    policy = GatedPolicy(history=2)
    server = start(policy, handshake=type(HANDSHAKE)(
        embodiment=HANDSHAKE.embodiment, history=2, horizon=4, weights_sha256="")
    )  # fmt: skip
    callers = [connect(server.url) for _ in range(2)]
    steps = [[observe(10 * number + step) for step in range(3)] for number in range(2)]
    for step in (0, 1, 2):
        for caller, seen in zip(callers, steps, strict=True):
            reply = caller.infer(as_openpi(seen[step]))
            history = stack_history(seen[: step + 1][-2:], steps=2)
            np.testing.assert_array_equal(reply["actions"], plan(history, chunk_seed(0, step)))


def test_a_batch_gives_what_singles_give(start, remote):
    policy = GatedPolicy()
    server = start(policy, window_ms=3000.0)
    remotes = [remote(server.url) for _ in range(3)]
    results = {}

    def ask(number):
        results[number] = remotes[number].act([observe(number)], seeds=[number])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert policy.batches == [3]
    for number, (chunk,) in results.items():
        np.testing.assert_array_equal(chunk.actions, plan(observe(number), number))


def test_one_bad_observation_does_not_spoil_the_batch(start, remote):
    from vla.errors import ServingError

    server = start(window_ms=3000.0)
    good, bad = remote(server.url), remote(server.url)
    raised = []

    def ask_badly():
        with pytest.raises(ServingError, match="'unknown' is not known") as caught:
            bad.act([observe(1, "unknown")], seeds=[0])
        raised.append(caught)

    thread = threading.Thread(target=ask_badly)
    thread.start()
    (chunk,) = good.act([observe()], seeds=[3])
    thread.join()
    np.testing.assert_array_equal(chunk.actions, plan(observe(), 3))
    assert len(raised) == 1


def test_late_plans_are_dropped_and_counted(start, connect):
    policy = GatedPolicy()
    server = start(policy, deadline_s=0.1)
    policy.gate.clear()
    caller = connect(server.url)
    with pytest.raises(RuntimeError, match=r"No plan within 0\.1 s"):
        caller.infer(as_openpi(observe()))
    policy.gate.set()
    wait_for(lambda: read_metric(server, "dropped_plans_total") == 1)
    assert read_metric(server, "late_total") == read_metric(server, "refused_total") == 1
    assert caller.close_code() == 1011


@pytest.mark.parametrize("politely", [True, False])
def test_a_caller_that_leaves_costs_no_further_work(start, connect, politely):
    policy = GatedPolicy()
    server = start(policy)
    policy.gate.clear()
    first, second = connect(server.url), connect(server.url)
    frame = msgpack.packb(as_openpi(observe()), default=pack_array)
    first.send(frame)
    assert policy.entered.wait(5)  # the policy is busy with the first one
    second.send(frame)
    wait_for(lambda: read_metric(server, "requests_total") == 2)
    second.leave(politely=politely)
    wait_for(lambda: read_metric(server, "cancelled_total") == 1)
    wait_for(lambda: read_metric(server, "clients") == 1)
    policy.gate.set()
    assert first.receive().type is aiohttp.WSMsgType.BINARY
    assert policy.batches == [1]  # the second one's observation was never planned for


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"", "Not a message"),
        (b"\xc1\xff garbage", "Not a message"),
        (msgpack.packb([1, 2]), "is a map"),
        ("text", "binary frames"),
        (msgpack.packb({}), "lacks 'observation/state'"),
        (msgpack.packb({"vla_request": "1"}), "needs its number"),
        (msgpack.packb({"vla_request": 1, "wait_s": 1, "seeds": [], "observations": []}), "seeds"),
        (msgpack.packb({"vla_request": 1, "wait_s": 1, "seeds": [1], "observations": [{}]}),
         "exactly the keys"),
        (msgpack.packb({**as_openpi(observe()), "observation/top": np.zeros((8, 8, 3), np.uint8)},
                       default=pack_array), r"not uint8 \(8, 8, 3\)"),
        (msgpack.packb({**as_openpi(observe()), "observation/state": [1.0, [2.0]]},
                       default=pack_array), "must hold 2 numbers"),
        (msgpack.packb({**as_openpi(observe()), "observation/state": [1.0, float("nan")]},
                       default=pack_array), "NaN"),
        (msgpack.packb({**as_openpi(observe()), "observation/state": [1.0]},
                       default=pack_array), "it must be"),
        (msgpack.packb({**as_openpi(observe()), "prompt": 3}, default=pack_array), "be text"),
    ],
)  # fmt: skip
def test_malformed_frames_are_explained_and_end_the_connection(start, connect, frame, reason):
    server = start()
    caller = connect(server.url)
    caller.send(frame)
    message = caller.receive()
    assert message.type is aiohttp.WSMsgType.TEXT
    assert re.search(reason, message.data)
    assert caller.close_code() == 1011
    reply = connect(server.url).infer(as_openpi(observe()))  # the server lives on
    assert reply["actions"].shape == (4, 2)


def test_a_failing_policy_tells_callers_nothing(start, connect, caplog):
    caller = connect(start().url)
    with pytest.raises(RuntimeError, match="The server failed; its log says why"):
        caller.infer(as_openpi(observe(instruction="crash")))
    assert "secret" in caplog.text


def test_a_frame_above_the_limit_ends_the_connection(start, connect):
    caller = connect(start(megabytes=1).url)
    caller.send(bytes(2**20 + 1))
    assert caller.close_code() == 1009


@pytest.mark.parametrize("header", ["", "Bearer wrong", "Bearer", "Basic right", "right"])
def test_a_wrong_token_is_refused(start, connect, header):
    server = start(token="right")
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        connect(server.url, headers={"Authorization": header})
    assert caught.value.status == 401
    with pytest.raises(urllib.error.HTTPError, match="401") as refused:
        get(server, "/metrics", Authorization=header)
    refused.value.close()
    assert get(server, "/healthz") == "ok\n"


def test_the_token_opens_under_openpi_s_name_too(start, connect):
    server = start(token="right")
    for kind in ("Bearer", "Api-Key"):
        caller = connect(server.url, headers={"Authorization": f"{kind} right"})
        assert caller.infer(as_openpi(observe()))["actions"].shape == (4, 2)
    assert "vla_serve_plans_total 2" in get(server, "/metrics", Authorization="Bearer right")


def test_web_pages_and_a_crowd_are_kept_out(start, connect):
    server = start(clients=1)
    with pytest.raises(aiohttp.WSServerHandshakeError) as page:
        connect(server.url, headers={"Origin": "http://127.0.0.1"})
    connect(server.url)
    with pytest.raises(aiohttp.WSServerHandshakeError) as crowd:
        connect(server.url)
    assert (page.value.status, crowd.value.status) == (403, 503)


def test_health_and_metrics(start, connect):
    server = start()
    assert get(server, "/healthz") == "ok\n"
    connect(server.url).infer(as_openpi(observe()))
    text = get(server, "/metrics")
    assert "# TYPE vla_serve_requests_total counter\nvla_serve_requests_total 1\n" in text
    assert "# TYPE vla_serve_clients gauge\nvla_serve_clients 1\n" in text


def test_stopping_lets_the_request_in_progress_finish(start, connect):
    policy = GatedPolicy()
    server = start(policy)
    policy.gate.clear()
    caller = connect(server.url)
    caller.send(msgpack.packb(as_openpi(observe()), default=pack_array))
    assert policy.entered.wait(5)
    server.stop(wait=False)
    wait_for(lambda: not is_listening(server))
    policy.gate.set()
    assert caller.receive().type is aiohttp.WSMsgType.BINARY
    assert caller.close_code() == 1001
    server.stop()


def test_a_taken_port_is_named(start):
    server = start()
    second = start(port=server.port)
    assert isinstance(second.error, ConfigError)
    assert f"127.0.0.1:{server.port}" in str(second.error)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"host": "0.0.0.0"}, "other machines"),
        ({"host": "robot.local", "token": "x"}, "other machines"),
        ({"host": "::", "certificate": "a", "key": "b"}, "other machines"),
        ({"certificate": "a"}, "together"),
        ({"port": 70000}, "65535"),
        ({"batch": 0}, "above 0"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, reason):
    with pytest.raises(ConfigError, match=reason):
        ServingConfig(**options)


def test_only_a_full_observation_reaches_the_policy(start, connect):
    policy = GatedPolicy()
    connect(start(policy).url).infer({**as_openpi(observe()), "observation/wrist": [1, 2]})
    (seen,) = policy.seen
    assert isinstance(seen, Observation)
    assert set(seen.images) == {"top"}
