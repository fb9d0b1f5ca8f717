"""openpi's own client package, in an environment of its own (it pins numpy<2), talks to ours."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("aiohttp", reason="aiohttp is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.network, pytest.mark.timeout(600)]
CALLER = Path(__file__).with_name("openpi_caller.py")
PACKAGES = ("openpi-client==0.1.2", "typing-extensions")
"""The client imports typing_extensions, but does not ask for it."""


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The interpreter of an environment with the client, and nothing of ours."""
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    if uv is None:
        pytest.skip("uv is not installed")
    folder = tmp_path_factory.mktemp("openpi") / "venv"
    root = Path(__file__).parents[3]
    subprocess.run(
        [uv, "venv", "--quiet", "--python", sys.executable, str(folder)], cwd=root, check=True
    )
    made = subprocess.run(
        [uv, "pip", "install", "--quiet", "--python", str(folder / "bin/python"), *PACKAGES],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if made.returncode:
        pytest.skip(f"the package registry is not reachable: {made.stderr.strip()[-200:]}")
    return folder / "bin/python"


def test_the_client_works_unmodified_and_two_never_mix_state(python, start):
    server = start(token="right", openpi_images={"top": "observation/top"})
    done = subprocess.run(
        [str(python), str(CALLER), server.url, "right"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["numpy"].startswith("1.")
    assert said["states_never_mix"]
    assert said["callers_differ"]
    assert all(said["broker_rows"])
    assert "lacks 'observation/state'" in said["broken_request"]
    assert {"contract", "vla_protocol"} <= set(said["metadata"])
