"""The choice of a public policy. Plain data: importing this costs nothing."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from policies.backbones.config import DTYPES
from policies.checks import require_choice
from policies.config import PolicyConfig
from vla.embodiment import Embodiment
from vla.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from vla.contract import Policy
    from vla.data.stats import Statistics


@dataclass(kw_only=True, slots=True)
class PublicConfig(PolicyConfig):
    """A published policy, read into our own networks; for which, see `recognition`.

    Attributes:
        path: folder or hub name; OpenVLA's, OFT's, CogACT's, LeRobot's or openpi's (PyTorch)
            layout.
        revision: commit or tag on the hub; "" takes the default branch.
        key: which data set's statistics undo the normalisation, where there are several
            (OpenVLA's "unnorm key", openpi's asset); "" where there is one.
        body: JSON file of the embodiment it was trained for (`Embodiment.to_json`); "" takes
            the one known by `key`, else that of the world or the data.
        cameras: the checkpoint's image key by camera name, where they differ from LeRobot's
            observation.images.NAME, e.g. {front: observation.images.top}. For OpenVLA-OFT the
            names alone count, in their order: {front: "", wrist: ""}.
        rows: how many rows OpenVLA-OFT plans at once, which its files do not say; 0 takes those
            of the data set's family.
        tokenizer: folder or hub name; "" takes what the checkpoint names or holds.
        dtype: of the pretrained weights in memory.
    """

    kind: str = "public"
    path: str = ""
    revision: str = ""
    key: str = ""
    body: str = ""
    cameras: dict[str, str] = field(default_factory=dict)
    rows: int = 0
    tokenizer: str = ""
    dtype: str = "float32"

    def __post_init__(self) -> None:
        require_choice(self, "dtype", DTYPES)
        if self.rows < 0:
            raise ConfigError(f"PublicConfig.rows is {self.rows}; 0 takes those that are known.")

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
