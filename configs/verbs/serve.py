"""`vla serve`: a checkpoint answers other machines."""

import asyncio
import logging
import signal

from configs.restoring import load_policy
from configs.serve_job import ServeJob
from vla.contract import Policy
from vla.runtime.planner import warm_up

log = logging.getLogger(__name__)


def main(job: ServeJob) -> None:
    """Load, plan once to learn the horizon, serve until SIGTERM or Ctrl-C."""
    body = job.world.embodiment()
    policy, weights = load_policy(job.checkpoint, device=job.device, embodiment=body)
    asyncio.run(run(job, policy, weights))


async def run(job: ServeJob, policy: Policy, weights: str) -> None:
    """Serve until a signal comes. Raises what vla.serving.server.serve raises."""
    from vla.serving.messages import Handshake
    from vla.serving.server import serve

    horizon = warm_up(policy)
    handshake = Handshake(
        embodiment=policy.embodiment,
        history=policy.history,
        horizon=horizon,
        weights_sha256=weights,
    )
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def announce(port: int) -> None:
        scheme = "wss" if job.certificate else "ws"
        url = f"{scheme}://{f'[{job.host}]' if ':' in job.host else job.host}:{port}"
        log.info(
            f"Serving {job.checkpoint} ({policy.embodiment.name}, {horizon} rows) at {url}\n"
            f"Next: vla run checkpoint={url}"
        )

    await serve(policy, job, handshake, stop=stop, ready=announce)
