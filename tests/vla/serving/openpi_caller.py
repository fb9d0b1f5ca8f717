"""Run by the Python of an environment that has openpi's client and nothing of ours.

    python openpi_caller.py ws://127.0.0.1:8000 [token]

Asks alone, then as two callers in turns: each must get what it got alone. Prints one JSON line.
"""

import json
import sys
import time

import numpy as np
import openpi_client
from openpi_client import action_chunk_broker, image_tools, websocket_client_policy


def make_steps(body, seed, count):
    """What an openpi robot would send: one map per step, by the names of the handshake."""
    random = np.random.default_rng(seed)
    sizes = {name: (camera["height"], camera["width"]) for name, camera in body["cameras"].items()}
    return [
        {
            "observation/state": random.uniform(-0.1, 0.1, len(body["state"])).astype(np.float32),
            "prompt": "pick up the red cube",
            **{
                f"observation/{name}": image_tools.resize_with_pad(
                    random.integers(0, 255, (96, 128, 3)).astype(np.uint8), *size
                )
                for name, size in sizes.items()
            },
        }
        for _ in range(count)
    ]


def main(url, token=None):
    def connect():
        return websocket_client_policy.WebsocketClientPolicy(url, api_key=token)

    first = connect()
    told = first.get_server_metadata()
    steps = [make_steps(told["embodiment"], seed, 4) for seed in (1, 2)]
    alone = [[caller.infer(step)["actions"] for step in each]
             for caller, each in zip((first, connect()), steps, strict=True)]  # fmt: skip
    pair = [connect(), connect()]
    took, same = [], True
    for number in range(4):
        for caller, each, wanted in zip(pair, steps, alone, strict=True):
            begin = time.perf_counter()
            answer = caller.infer(each[number])
            took.append(time.perf_counter() - begin)
            same &= np.array_equal(answer["actions"], wanted[number])
    broker = action_chunk_broker.ActionChunkBroker(connect(), action_horizon=2)
    rows = [broker.infer(steps[0][0])["actions"] for _ in range(2)]
    broken = ""
    try:
        connect().infer({"prompt": "nothing else"})
    except RuntimeError as error:
        broken = str(error)
    result = {
        "openpi_client": openpi_client.__version__,
        "numpy": np.__version__,
        "metadata": sorted(told),
        "actions": [str(alone[0][0].dtype), list(alone[0][0].shape)],
        "states_never_mix": bool(same),
        "callers_differ": not np.array_equal(alone[0][0], alone[1][0]),
        "broker_rows": [row.shape == alone[0][0].shape[1:] for row in rows],
        "broken_request": broken,
        "median_ms": float(round(np.median(took) * 1e3, 2)),
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
