"""LeRobot's devices by the name of their type, with the options that the type takes."""

import pkgutil
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from vla.errors import ConfigError, UnknownChoice

FOLDERS = {
    "so100_follower": "so_follower",
    "so101_follower": "so_follower",
    "so100_leader": "so_leader",
    "so101_leader": "so_leader",
    "keyboard_ee": "keyboard",
    "intelrealsense": "realsense",
}
"""Where LeRobot 0.6.1 keeps a type whose folder has another name."""


class NamedDevice(Protocol):
    """What a configuration says of a LeRobot device, whatever it is."""

    type: str
    id: str
    port: str
    calibration_dir: str
    options: Mapping[str, Any]


def find_schema(package: ModuleType, base: Any, type_: str) -> Any:
    """LeRobot's configuration class for the devices called `type_`.

    Args:
        package: of LeRobot, with a module per kind of device.
        base: its configuration class, which knows the types.
        type_: what the user named.

    Raises:
        UnknownChoice: for a type that neither LeRobot nor an installed plug-in has.
    """
    from lerobot.utils.import_utils import register_third_party_plugins

    known = {module.name for module in pkgutil.iter_modules(package.__path__)}
    folder = FOLDERS.get(type_, type_)
    if folder in known:
        import_module(f"{package.__name__}.{folder}")
    else:
        register_third_party_plugins()
    choices = base.get_known_choices()
    if type_ not in choices:
        named = {name for name, place in FOLDERS.items() if place in known}
        what = package.__name__.rpartition(".")[2].removesuffix("s")
        raise UnknownChoice(f"LeRobot {what}", type_, {*choices, *known, *named})
    return base.get_choice_class(type_)


def make_chosen(
    config: NamedDevice, schema: Any, *, make: Callable[[Any], Any], calm: Mapping[str, Any]
) -> Any:
    """LeRobot's device for `config`, not connected.

    Args:
        config: its name, port and options.
        schema: of `find_schema`.
        make: makes the device from its configuration.
        calm: options of ours, for the types that take them; `config.options` override them.

    Raises:
        ConfigError: for options that LeRobot does not take.
    """
    fields = schema.__dataclass_fields__
    wanted: dict[str, Any] = {"id": config.id}
    if config.calibration_dir:
        wanted["calibration_dir"] = Path(config.calibration_dir).expanduser()
    if config.port:
        wanted["port"] = config.port
    wanted |= {key: value for key, value in calm.items() if key in fields}
    wanted |= config.options
    if foreign := sorted(set(wanted) - set(fields)):
        raise ConfigError(f"{config.type} takes no {foreign}; it takes {sorted(fields)}.")
    try:
        return make(schema(**wanted))
    except (TypeError, ValueError, ImportError) as error:
        raise ConfigError(f"LeRobot cannot make {config.type}: {error}") from error
