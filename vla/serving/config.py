"""Options of the policy server."""

import ipaddress
from dataclasses import dataclass, field

from vla.errors import ConfigError


@dataclass(kw_only=True, slots=True)
class ServingConfig:
    """Where the server listens, whom it lets in, and how it gathers requests.

    Attributes:
        host: address to listen at; anything but loopback needs `token` and TLS.
        port: TCP port; 0 lets the system pick one.
        token: callers must show it ("Authorization: Bearer TOKEN"); "" lets everyone in.
            Read from the environment variable VLA_TOKEN unless it is given.
        certificate, key: PEM files of the server's TLS certificate; "" for plain text.
        window_ms: how long to wait for other callers' observations before planning.
        batch: most observations planned at once.
        deadline_s: requests older than this are dropped; callers may ask for less.
        megabytes: largest message.
        clients: most callers at a time.
        seed: of plans for callers that send none (openpi's clients).
        openpi_images: openpi key of each camera; cameras not named: "observation/CAMERA".
        openpi_state, openpi_prompt: openpi keys of the state and of the instruction.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str = ""
    certificate: str = ""
    key: str = ""
    window_ms: float = 2.0
    batch: int = 16
    deadline_s: float = 10.0
    megabytes: int = 64
    clients: int = 16
    seed: int = 0
    openpi_images: dict[str, str] = field(default_factory=dict)
    openpi_state: str = "observation/state"
    openpi_prompt: str = "prompt"

    def __post_init__(self) -> None:
        for name in ("deadline_s", "megabytes", "clients", "batch"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be above 0.")
        if not 0 <= self.port < 2**16 or self.window_ms < 0 or self.seed < 0:
            raise ConfigError("port must be within 0 to 65535; window_ms and seed not negative.")
        if bool(self.certificate) != bool(self.key):
            raise ConfigError("Give certificate and key together: TLS needs both PEM files.")
        if not is_loopback(self.host) and not (self.token and self.certificate):
            raise ConfigError(
                f"host={self.host} can be reached by other machines; give token=... or VLA_TOKEN, "
                "and certificate=... and key=..., or keep host=127.0.0.1 and use an SSH tunnel."
            )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
