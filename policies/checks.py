"""Checks that the configs share."""

from vla.errors import ConfigError, UnknownChoice


def require_positive(owner: object, *names: str) -> None:
    """Raise ConfigError unless each named field of `owner` is above 0."""
    for name in names:
        if not getattr(owner, name) > 0:
            kind = type(owner).__name__
            raise ConfigError(f"{kind}.{name} is {getattr(owner, name)}; it must be above 0.")


def require_choice(owner: object, name: str, choices: tuple[str, ...]) -> None:
    """Raise UnknownChoice unless the named field of `owner` is one of `choices`."""
    if getattr(owner, name) not in choices:
        raise UnknownChoice(f"{type(owner).__name__}.{name}", getattr(owner, name), choices)


def require_heads(owner: object) -> None:
    """Raise ConfigError unless `width` divides into heads of even width."""
    width, heads = owner.width, owner.attention_heads  # type: ignore[attr-defined]
    if width % (2 * heads):
        raise ConfigError(
            f"{type(owner).__name__}: width {width} is not a multiple of twice "
            f"attention_heads ({heads}); e.g. width={2 * heads * max(1, width // (2 * heads))}."
        )
