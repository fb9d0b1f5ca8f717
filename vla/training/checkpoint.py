"""What a run leaves behind: weights that can be deployed, and what it takes to go on.

    checkpoints/step-00001000/
        weights.safetensors        averaged weights (EMA), or the raw ones when there is no average
        config.yaml                the whole configuration, to rebuild the policy
        contract.json              embodiment etc., plus format, step, score, weights_sha256
        training/                  needed only to resume; may be deleted
            raw.safetensors        raw weights of the averaged parameters
            optimizer.safetensors  AdamW's moments, "<parameter>/<quantity>"
            state.json             the training configuration and the digests of the two files

There are no pointer files: "latest" and "best" are found by listing, so they cannot be wrong.
"""

import json
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from vla.errors import CheckpointError
from vla.files import (
    complete_folder,
    digest_file,
    discard_folder,
    remove_unfinished,
    write_json,
)
from vla.training.deployed import FORMAT, CheckpointMeta, fill_weights
from vla.training.weights import fill_module, save_tensors

CONTRACT_KEYS = ("format", "step", "score", "weights_sha256")
STEP_NAME = re.compile(r"step-(\d{8,})")


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """One complete checkpoint on disk, its weights not yet read.

    Attributes:
        path: its folder.
        step: updates done.
        score: validation score when it was saved, lower is better; None without validation.
        config_yaml, contract: as in CheckpointMeta; the contract also holds our own keys.
    """

    path: Path
    step: int
    score: float | None
    config_yaml: str
    contract: dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingState:
    """What `training/` holds; see the module's docstring."""

    raw: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    state: dict[str, Any]


class CheckpointFolder:
    """The checkpoints of one run: the newest `keep`, and the best one besides."""

    def __init__(self, path: Path | str, *, keep: int = 1):
        self.path = Path(path)
        self.keep = keep

    def steps(self) -> list[int]:
        """Steps of the checkpoints there are, ascending."""
        names = [entry.name for entry in self.path.iterdir()] if self.path.is_dir() else []
        return sorted(int(match[1]) for name in names if (match := STEP_NAME.fullmatch(name)))

    def open(self, step: int) -> Checkpoint:
        """The checkpoint of `step`. Raises CheckpointError."""
        return open_checkpoint(self.path / f"step-{step:08d}")

    def latest(self) -> Checkpoint | None:
        """The newest checkpoint; None when there is none. Raises CheckpointError."""
        steps = self.steps()
        return self.open(steps[-1]) if steps else None

    def best(self) -> Checkpoint | None:
        """The checkpoint of lowest score, the older on a tie; None when none has a score."""
        scored = [c for c in map(self.open, self.steps()) if c.score is not None]
        return min(scored, key=lambda checkpoint: checkpoint.score, default=None)

    def improves(self, score: float | None) -> bool:
        """Whether `score` is lower than that of every checkpoint kept."""
        if score is None:
            return False
        best = self.best()
        return best is None or score < best.score

    def clean(self) -> None:
        """Delete what a killed writer left behind; for the run that writes here, nobody else."""
        remove_unfinished(self.path)

    def write(
        self,
        step: int,
        *,
        meta: CheckpointMeta,
        weights: dict[str, Tensor],
        training: TrainingState,
        score: float | None = None,
    ) -> Path:
        """Save a checkpoint, visible only once it is complete, then delete those not kept.

        Raises:
            CheckpointError: when it cannot be written (disk full, no permission).
        """
        final = self.path / f"step-{step:08d}"
        try:
            with complete_folder(final) as draft:
                _fill(draft, step, meta=meta, weights=weights, training=training, score=score)
        except (OSError, SafetensorError) as error:
            raise CheckpointError(
                f"Cannot write {final}: {error}. Free space or repair the disk, then resume; "
                f"{_remedy(final, lambda step: f'the run goes on from step {step}')}."
            ) from error
        self._discard_old()
        return final

    def _discard_old(self) -> None:
        best = self.best()
        kept = {*self.steps()[-self.keep :], best.step if best else None}
        for step in self.steps():
            if step not in kept:
                discard_folder(self.path / f"step-{step:08d}")


def open_checkpoint(path: Path | str) -> Checkpoint:
    """Open a checkpoint folder, or the best (else the latest) checkpoint of a run's folder.

    Raises:
        CheckpointError: when it is missing or incomplete; the weights are checked on loading.
    """
    path = Path(path)
    for folder in (path, path / "checkpoints"):
        run = CheckpointFolder(folder)
        found = (run.best() or run.latest()) if run.steps() else None
        if found is not None:
            return found
    if STEP_NAME.fullmatch(path.name) is None and not (path / "contract.json").exists():
        raise CheckpointError(
            f"No checkpoint in {path}. Give a checkpoint's folder (.../checkpoints/step-00001000) "
            "or that of a run that has saved one."
        )
    contract = _read_json(path / "contract.json", keys=CONTRACT_KEYS)
    if contract["format"] != FORMAT:
        raise CheckpointError(
            f"{path} has format {contract['format']!r}; this version reads {FORMAT}. "
            "Use the version that wrote it."
        )
    for name in ("weights.safetensors", "config.yaml"):
        if not (path / name).is_file():
            raise _broken(path, f"{name} is missing")
    return Checkpoint(
        path=path,
        step=contract["step"],
        score=contract["score"],
        config_yaml=(path / "config.yaml").read_text(),
        contract=contract,
    )


def load_weights(
    module: nn.Module,
    path: Path | str,
    *,
    put: Callable[[nn.Module, Path], None] = fill_module,
) -> None:
    """Fill `module` with a checkpoint's weights; all of them or, on an error, none.

    Args:
        module: on any device; values are cast to the dtypes of its own tensors.
        path: a checkpoint folder, a run's folder, or a bare .safetensors file (which has no
            digest to check against).
        put: `fill_module`, or `map_module` (which keeps the file's dtypes).

    Raises:
        CheckpointError: when the file is damaged, or when tensors are missing, unexpected or
            of another shape; the message lists them.
    """
    file = Path(path)
    if file.suffix != ".safetensors":
        checkpoint = open_checkpoint(path)
        file = checkpoint.path / "weights.safetensors"
        _check_digest(file, checkpoint.contract["weights_sha256"], checkpoint.path)
    put(module, file)


def load_training(checkpoint: Checkpoint) -> TrainingState:
    """Read what is needed to resume, on the CPU. Raises CheckpointError when damaged."""
    folder = checkpoint.path / "training"
    state = _read_json(folder / "state.json", keys=("training", "precision", "sha256"))
    tensors = {}
    for name in ("raw", "optimizer"):
        file = folder / f"{name}.safetensors"
        _check_digest(file, state["sha256"][name], checkpoint.path)
        tensors[name] = load_file(file)
    return TrainingState(raw=tensors["raw"], optimizer=tensors["optimizer"], state=state)


def _fill(
    folder: Path,
    step: int,
    *,
    meta: CheckpointMeta,
    weights: dict[str, Tensor],
    training: TrainingState,
    score: float | None,
) -> None:
    fill_weights(folder, step, meta=meta, weights=weights, score=score)
    aside = folder / "training"
    aside.mkdir()
    save_tensors(aside / "raw.safetensors", training.raw)
    save_tensors(aside / "optimizer.safetensors", training.optimizer)
    digests = {name: digest_file(aside / f"{name}.safetensors") for name in ("raw", "optimizer")}
    write_json(aside / "state.json", {**training.state, "sha256": digests})


def _check_digest(file: Path, expected: str, checkpoint: Path) -> None:
    if not file.is_file():
        raise _broken(checkpoint, f"{file.name} is missing")
    if digest_file(file) != expected:
        raise _broken(checkpoint, f"{file.name} is damaged (its SHA-256 differs)")


def _read_json(path: Path, *, keys: Collection[str]) -> dict[str, Any]:
    """Read a JSON object that holds at least `keys`."""
    folder = path.parent.parent if path.parent.name == "training" else path.parent
    try:
        value = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _broken(folder, f"{path.name} is missing") from error
    except ValueError as error:
        raise _broken(folder, f"{path.name} is not JSON ({error})") from error
    lacking = [key for key in keys if not isinstance(value, dict) or key not in value]
    if lacking:
        raise _broken(folder, f"{path.name} lacks {', '.join(lacking)}")
    return value


def _broken(checkpoint: Path, fault: str) -> CheckpointError:
    way = _remedy(checkpoint, lambda step: f"delete it and resume from step {step}")
    return CheckpointError(f"Checkpoint {checkpoint} cannot be used: {fault}; {way}.")


def _remedy(checkpoint: Path, advise: Callable[[int], str]) -> str:
    """Point to the newest other checkpoint of the same run, if there is one."""
    others = [s for s in CheckpointFolder(checkpoint.parent).steps()
              if checkpoint.name != f"step-{s:08d}"]  # fmt: skip
    if others:
        return advise(others[-1])
    return "there is no other checkpoint beside it: copy it anew, or begin a new run"
