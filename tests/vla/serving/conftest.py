"""Servers and callers that are gone when the test is."""

import pytest


@pytest.fixture
def start():
    """start(policy=..., **options) runs a server; all are stopped at the end."""
    from tests.vla.serving.callers import HANDSHAKE, GatedPolicy, Running
    from vla.serving.config import ServingConfig

    running = []

    def start(policy=None, *, handshake=HANDSHAKE, **options):
        options = {"port": 0, **options}
        running.append(Running(policy or GatedPolicy(), ServingConfig(**options), handshake))
        return running[-1]

    yield start
    for server in running:
        server.stop()


@pytest.fixture
def connect():
    """connect(url) is an openpi caller, remote(url) a RemotePolicy."""
    from tests.vla.serving.callers import OpenpiCaller

    callers = []

    def connect(url, **options):
        callers.append(OpenpiCaller(url, **options))
        return callers[-1]

    yield connect
    for caller in callers:
        if not caller._loop.is_closed():
            caller.leave(politely=False)


@pytest.fixture
def remote():
    """remote(url) is a RemotePolicy, closed at the end."""
    from vla.serving.remote_policy import RemotePolicy

    policies = []

    def remote(url, **options):
        policies.append(RemotePolicy(url, **{"timeout_s": 5.0, **options}))
        return policies[-1]

    yield remote
    for policy in policies:
        policy.close()
