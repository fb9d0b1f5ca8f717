"""A folder of public weights: its JSON files and its tensors, nothing that could run code."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vla.errors import CheckpointError

PATTERNS = ["*.json", "*.safetensors", "*.model", "*.txt", "*--*.pt", "checkpoints/*.pt"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PublicFolder:
    """Where public weights lie.

    Attributes:
        path: the folder.
        settings: its config.json.
    """

    path: Path
    settings: dict[str, Any]

    @classmethod
    def open(cls, name: str, revision: str = "") -> "PublicFolder":
        """A folder, or a hub repository, which is fetched (nothing that would be run).

        Raises:
            CheckpointError: when there is none, or its config.json cannot be read.
        """
        path = Path(name)
        if not path.is_dir():
            path = _fetch(name, revision)
        return cls(path=path, settings=read_json(path / "config.json"))

    def read(self) -> dict[str, Tensor]:
        """Every tensor of every *.safetensors file, as it is stored.

        Raises:
            CheckpointError: without one, with a damaged one, or one name in two files.
        """
        weights: dict[str, Tensor] = {}
        for name, tensor in self._tensors():
            if name in weights:
                raise CheckpointError(f"{self.path}: two files hold {name!r}; fetch it again.")
            weights[name] = tensor
        return weights

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        # LeRobot keeps the statistics of its processors in files of their own.
        files = [
            path
            for path in sorted(self.path.glob("*.safetensors"))
            if not path.name.startswith(("policy_preprocessor", "policy_postprocessor"))
        ]
        if not files:
            raise CheckpointError(f"{self.path} has no *.safetensors. {_convert(self.path)}")
        for path in files:
            try:
                with safe_open(path, framework="pt") as shard:
                    for key in shard.keys():  # noqa: SIM118 - not a dict
                        yield key, shard.get_tensor(key)
            except SafetensorError as error:
                raise CheckpointError(f"{path} is damaged: {error}. Fetch it again.") from error


def read_json(path: Path) -> Any:
    """A JSON file. Raises CheckpointError when it is missing or garbled."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}. Fetch the folder again.") from error


def _fetch(name: str, revision: str) -> Path:
    try:
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=PATTERNS))
    except (OSError, ValueError, HfHubHTTPError, HFValidationError) as error:
        first = (str(error).strip() or repr(error)).splitlines()[0]
        raise CheckpointError(
            f"{name!r} is no folder, and no hub repository that can be fetched: {first} Without "
            f"internet, run `hf download {name}` on a connected machine and copy its folder here."
        ) from error


def _convert(path: Path) -> str:
    pickled = sorted(entry.name for entry in path.glob("*.pt"))
    if not pickled:
        return "Fetch the folder again."
    return (
        f"{', '.join(pickled)} are Python pickles, which can run any code when they are opened, "
        "so they are not. Where you trust their source, convert each on a machine of its own: "
        "torch.load(..., weights_only=True), then safetensors.torch.save_file."
    )
