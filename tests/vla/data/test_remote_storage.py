"""A store in a bucket, on a web server and on the hub, each played by a server on this machine."""

import json
import multiprocessing
import os
import pickle
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest

from vla.data.loader import WindowLoader
from vla.data.remote_storage import ObjectStorage
from vla.data.store import TrajectoryStore
from vla.errors import ConfigError, DataError, UnknownChoice


class RangeHandler(BaseHTTPRequestHandler):
    """Serves files below `server.root`, whole or one Range of each."""

    def do_GET(self):
        path = self.server.root / urlsplit(self.path).path.lstrip("/")
        self.send_file(path)

    do_HEAD = do_GET  # noqa: N815

    def send_file(self, path):
        self.server.seen.append((self.command, path.name))
        if not path.is_file():
            self.send_error(404)
            return
        content, status = path.read_bytes(), 200
        total = len(content)
        wanted = self.headers.get("Range")
        first, last = 0, total - 1
        if wanted:
            status = 206
            first, last = (int(n) for n in wanted.removeprefix("bytes=").split("-"))
            last = min(last, total - 1)
        self.send_response(status)
        self.send_header("Content-Length", str(last + 1 - first))
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        if wanted:
            self.send_header("Content-Range", f"bytes {first}-{last}/{total}")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content[first : last + 1])

    def log_message(self, *_):
        pass


class HubHandler(RangeHandler):
    """What HfFileSystem asks of the hub, for one dataset "me/data" with the store in "s"."""

    def do_GET(self):
        path = unquote(urlsplit(self.path).path)
        path = path.removeprefix("/api").removeprefix("/datasets/me/data")
        verb, _, rest = path.lstrip("/").partition("/")
        if verb == "resolve":
            self.send_file(self.server.root / rest.partition("/")[2])
            return
        folder = rest.partition("/")[2]
        if verb == "tree" and not (self.server.root / folder).is_dir():
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif verb == "tree":
            self.answer(self.listing(folder))
        else:
            self.answer({"id": "me/data", "sha": "0" * 40, "siblings": []})

    do_HEAD = do_GET  # noqa: N815

    def listing(self, folder):
        entries = sorted((self.server.root / folder).iterdir())
        names = [entry.relative_to(self.server.root).as_posix() for entry in entries]
        return [
            {"type": "file", "path": name, "size": entry.stat().st_size, "oid": "0" * 40}
            if entry.is_file()
            else {"type": "directory", "path": name, "oid": "0" * 40}
            for name, entry in zip(names, entries, strict=True)
        ]

    def answer(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def serve(store):
    """Start a server over the folder that holds the store; gives the server."""
    servers = []

    def start(handler):
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.root, server.seen = store.path.parent, []
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        server.url = f"http://127.0.0.1:{server.server_port}"
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def assert_equal_stores(remote, local):
    assert remote.hash == local.hash
    for key in ("state", "action", "time", "labels/target"):
        np.testing.assert_array_equal(remote.column(key), local.column(key))
    frames = np.array([27, 3, 3, 14, 0])
    for camera in local.embodiment.cameras:
        np.testing.assert_array_equal(
            remote.read_frames(camera, frames), local.read_frames(camera, frames)
        )
    remote.verify()


def test_web_server(store, serve):
    server = serve(RangeHandler)
    remote = TrajectoryStore.open(f"{server.url}/store/")
    assert remote.location == f"{server.url}/store"
    assert_equal_stores(remote, store)
    # Our own bytes: this is how a spawned worker gets a store.
    assert pickle.loads(pickle.dumps(remote)).hash == store.hash


@pytest.mark.parametrize("kind", ["http", "hf"])
def test_a_window_costs_one_request_per_camera(store, serve, kind):
    server = serve(RangeHandler if kind == "http" else HubHandler)
    remote = (
        TrajectoryStore.open(f"{server.url}/store")
        if kind == "http"
        else TrajectoryStore.open("hf://datasets/me/data/store", {"endpoint": server.url})
    )
    for camera in remote.embodiment.cameras:
        remote.read_frames(camera, np.array([0]))  # the shard's index
    server.seen.clear()
    for camera in remote.embodiment.cameras:
        got = remote.read_frames(camera, np.array([4, 2, 9]))
        np.testing.assert_array_equal(got, store.read_frames(camera, np.array([4, 2, 9])))
    assert len(server.seen) == 2


def test_a_store_that_is_not_there(serve):
    with pytest.raises(DataError, match=r"/nothing is not a trajectory store: it has no manifest"):
        TrajectoryStore.open(f"{serve(RangeHandler).url}/nothing")


def test_windows_of_a_remote_store(store, serve):
    server = serve(RangeHandler)
    options = {"history": 2, "horizon": 4, "batch_size": 8, "seed": 0, "threads": 0}
    batches = [
        WindowLoader(opened, episodes=opened.split("all"), **options).batch(0)
        for opened in (store, TrajectoryStore.open(f"{server.url}/store"))
    ]
    for camera in store.embodiment.cameras:
        assert batches[0].images[camera].equal(batches[1].images[camera])
    assert batches[0].actions.equal(batches[1].actions)


def test_hub(store, serve):
    server = serve(HubHandler)
    remote = TrajectoryStore.open("hf://datasets/me/data/store", {"endpoint": server.url})
    assert_equal_stores(remote, store)
    with pytest.raises(DataError, match=r"hf://datasets/me/data/nothing .*no manifest.json"):
        TrajectoryStore.open("hf://datasets/me/data/nothing", {"endpoint": server.url})
    with pytest.raises(UnknownChoice, match="endpoint"):
        TrajectoryStore.open("hf://datasets/me/data/store", {"end_point": "x"})


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_bucket(store, monkeypatch):
    import boto3
    from moto.server import ThreadedMotoServer

    for key, value in {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}.items():
        monkeypatch.setenv(key, value)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        endpoint = "http://{}:{}".format(*server.get_host_and_port())
        client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
        client.create_bucket(Bucket="films")
        for path in store.path.rglob("*"):
            if path.is_file():
                key = path.relative_to(store.path.parent).as_posix()
                client.put_object(
                    Bucket="films", Key=key, Body=path.read_bytes(), ACL="public-read"
                )
        options = {"endpoint": endpoint, "region": "us-east-1"}
        assert_equal_stores(TrajectoryStore.open("s3://films/store", options), store)
        anonymous = {**options, "anonymous": "true"}
        assert TrajectoryStore.open("s3://films/store", anonymous).num_episodes == 6
        with pytest.raises(DataError, match=r"s3://films/nothing .*no manifest.json"):
            TrajectoryStore.open("s3://films/nothing", options)
        client.close()
    finally:
        server.stop()


def test_a_remote_store_is_not_written_to(store, serve, make_trajectory):
    remote = TrajectoryStore.open(f"{serve(RangeHandler).url}/store")
    for write in (
        lambda: remote.append(make_trajectory(3, 6)),
        remote.compact,
        remote.collect_garbage,
    ):
        with pytest.raises(DataError, match=r"only be read.*local folder.*copy"):
            write()


def test_a_server_that_ignores_range_is_noticed(store, serve):
    class Whole(RangeHandler):
        def do_GET(self):
            del self.headers["Range"]
            super().do_GET()

        do_HEAD = RangeHandler.do_GET  # noqa: N815

    remote = TrajectoryStore.open(f"{serve(Whole).url}/store")
    with pytest.raises(DataError, match="images/front"):
        remote.read_frames("front", np.array([0]))


def test_locations_that_make_no_sense(store):
    with pytest.raises(UnknownChoice, match="s3"):
        TrajectoryStore.open("s4://bucket/store")
    with pytest.raises(ConfigError, match="local folder"):
        TrajectoryStore.open(store.path, {"region": "x"})
    with pytest.raises(ConfigError, match="http://x takes no options"):
        TrajectoryStore.open("http://x", {"region": "x"})
    with pytest.raises(ConfigError, match=r"s3://b/s.*regoin"):
        TrajectoryStore.open("s3://b/s", {"regoin": "x"})


def _read(url, queue):
    try:
        TrajectoryStore.open(url)
    except DataError as error:
        queue.put(str(error))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_is_told(store, serve):
    url = f"{serve(RangeHandler).url}/store"
    TrajectoryStore.open(url)
    assert ObjectStorage.process == os.getpid()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=_read, args=(url, queue))
    process.start()
    assert "spawn" in queue.get(timeout=60)
    process.join()
