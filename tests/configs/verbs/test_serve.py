"""`vla serve` from its keys to SIGTERM, and the address as a checkpoint."""

import logging
import os
import re
import signal
import threading

import numpy as np
import pytest

pytest.importorskip("msgpack", reason="msgpack is not installed")

from configs.launch import build_job, compose, open_table, register_schemas
from configs.restoring import load_policy
from configs.verbs import serve
from tests.vla.serving.callers import HORIZON, GatedPolicy, observe, plan
from vla.errors import ConfigError, ServingError


@pytest.fixture
def compose_job():
    register_schemas()
    return lambda *words: build_job(compose("serve", ["checkpoint=x", *map(open_table, words)]))


def test_a_checkpoint_is_served_until_sigterm(compose_job, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("VLA_TOKEN", "secret")  # the server's and the caller's
    policy = GatedPolicy()
    monkeypatch.setattr(serve, "load_policy", lambda *_, **__: (policy, "abc"))
    results = []

    def call():
        try:
            while not (found := re.search(r"checkpoint=(ws://\S+)", caplog.text)):
                threading.Event().wait(0.01)
            far, weights = load_policy(found[1], device="cpu", embodiment=policy.embodiment)
            results.extend([weights, *far.act([observe()], seeds=[4])])
            far.close()
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    caller = threading.Thread(target=call, daemon=True)
    caller.start()
    serve.main(compose_job("port=0"))  # returns when the signal comes
    caller.join()
    weights, chunk = results
    assert weights == "abc"
    assert f"{HORIZON} rows" in caplog.text
    assert "secret" not in caplog.text
    np.testing.assert_array_equal(chunk.actions, plan(observe(), 4))


def test_an_address_where_nobody_listens(monkeypatch):
    with pytest.raises(ServingError, match=r"Cannot reach ws://127\.0\.0\.1:1:"):
        load_policy("ws://127.0.0.1:1", device="cpu", embodiment=None)


def test_other_machines_need_a_token_and_tls(compose_job):
    with pytest.raises(ConfigError, match="other machines"):
        compose_job("host=0.0.0.0", "token=x")
    job = compose_job("host=0.0.0.0", "token=x", "certificate=a", "key=b",
                      "openpi_images={front: images/cam_high}")  # fmt: skip
    assert (job.host, job.token) == ("0.0.0.0", "x")
    assert job.openpi_images == {"front": "images/cam_high"}
