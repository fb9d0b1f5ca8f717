"""Every error the stack raises on purpose, in one tree.

    VlaError
    ├── ConfigError            an option that does not exist or makes no sense
    │   └── UnknownChoice      a name outside a closed list (carries did-you-mean)
    ├── ContractError          two parts that do not fit
    │   ├── ShapeError         wrong shape, dtype or a non-finite value
    │   └── EmbodimentMismatch axis-by-axis difference of two embodiments
    ├── DataError              a store, an episode or a source file that cannot be used
    │   └── StatisticsError    missing, foreign or degenerate statistics
    ├── CheckpointError        a checkpoint that is missing, incomplete or foreign
    │   └── ExportRefused      a quantized policy that did not pass the gate
    ├── TrainingError          a run that must not go on (non-finite loss, ...)
    ├── RenderError            no working GL
    ├── ServingError           a policy server, or its caller, that does not keep the protocol
    └── RobotError             a device that does not answer, or a start that is refused
        ├── ArmSilent          an arm whose controller is frozen, unplugged or gone
        ├── ArmStopped         an arm that its own controller has stopped
        └── GateRefusal        the safety gate latched; nothing moves until it is reset

A message names the culprit, the choices and the remedy; `vla` prints it on one
line or a few and exits with status 2. Anything else that escapes is a bug.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class VlaError(Exception):
    """Root of the tree; catch this at a process boundary, never below."""


class ConfigError(VlaError):
    """An option that does not exist or makes no sense."""


class UnknownChoice(ConfigError):
    """A name outside a closed list; the message lists the choices and the nearest one."""

    def __init__(self, what: str, name: str, choices: Iterable[str]):
        options = sorted(choices)
        near = get_close_matches(str(name), options, n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        listing = ", ".join(options) if options else "none exist yet"
        super().__init__(f"Unknown {what} {name!r}.{hint} Choices: {listing}.")


class ContractError(VlaError):
    """Two parts that do not fit together."""


class ShapeError(ContractError):
    """Wrong shape, wrong dtype, or a value that is not finite."""


class EmbodimentMismatch(ContractError):
    """Two embodiments that differ; the message lists the differences axis by axis."""


class DataError(VlaError):
    """A store, an episode or a source file that cannot be used."""


class StatisticsError(DataError):
    """Statistics that are missing, belong to other data, or are degenerate."""


class CheckpointError(VlaError):
    """A checkpoint that is missing, incomplete or foreign."""


class ExportRefused(CheckpointError):
    """A quantized or compiled policy that did not pass the gate; nothing was written."""


class TrainingError(VlaError):
    """A training run that must not go on."""


class RenderError(VlaError):
    """No working GL context."""


class ServingError(VlaError):
    """A policy server or its caller that is late, gone, or out of the protocol."""


class RobotError(VlaError):
    """A device that does not answer, or a start that is refused."""


class ArmSilent(RobotError):
    """An arm whose controller is frozen, unplugged or gone: what it does now is unknown."""


class ArmStopped(RobotError):
    """An arm that its own controller has stopped; it stays stopped until somebody recovers it."""


class GateRefusal(RobotError):
    """The safety gate is latched: nothing moves until it is reset."""


def choose[T](what: str, name: str, table: dict[str, T]) -> T:
    """Return `table[name]`; raise UnknownChoice naming `what` and the nearest key otherwise."""
    if name not in table:
        raise UnknownChoice(what, name, table)
    return table[name]
