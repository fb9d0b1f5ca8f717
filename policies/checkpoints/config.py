"""The choice of a public policy. Plain data: importing this costs nothing."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from policies.backbones.config import DTYPES
from policies.checks import require_choice
from policies.config import PolicyConfig
from vla.embodiment import Embodiment
from vla.errors import CheckpointError

if TYPE_CHECKING:
    from vla.contract import Policy
    from vla.data.stats import Statistics


@dataclass(kw_only=True, slots=True)
class PublicConfig(PolicyConfig):
    """A published policy, read into our own networks: OpenVLA, pi0, pi0.5, SmolVLA.

    Attributes:
        path: folder or hub name; OpenVLA's, LeRobot's or openpi's (PyTorch) layout.
        revision: commit or tag on the hub; "" takes the default branch.
        key: which data set's statistics undo the normalisation, where there are several
            (OpenVLA's "unnorm key", openpi's asset); "" where there is one.
        body: JSON file of the embodiment it was trained for (`Embodiment.to_json`); "" takes
            the one known by `key`, else that of the world or the data.
        cameras: the checkpoint's image key by camera name, where they differ from LeRobot's
            observation.images.NAME, e.g. {front: observation.images.top}.
        tokenizer: folder or hub name; "" takes what the checkpoint names.
        dtype: of the pretrained weights in memory.
    """

    kind: str = "public"
    path: str = ""
    revision: str = ""
    key: str = ""
    body: str = ""
    cameras: dict[str, str] = field(default_factory=dict)
    tokenizer: str = ""
    dtype: str = "float32"

    def __post_init__(self) -> None:
        require_choice(self, "dtype", DTYPES)

    def build(self, embodiment: Embodiment, statistics: "Statistics | None" = None) -> "Policy":
        """Read the checkpoint for `embodiment`; see `policies.checkpoints.recognition.read`."""
        from policies.checkpoints.recognition import read

        return read(self, embodiment).build(statistics)

    def read_body(self) -> Embodiment | None:
        """The embodiment of the file `body`, None without one. Raises CheckpointError."""
        if not self.body:
            return None
        try:
            return Embodiment.from_json(json.loads(Path(self.body).read_text()))
        except (OSError, ValueError) as error:
            raise CheckpointError(f"policy.body: {self.body} cannot be read: {error}.") from error
