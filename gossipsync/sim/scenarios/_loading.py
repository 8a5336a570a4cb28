"""From a scenario's name or file to a scenario that can be run, here or in another process.

Invariant: a file that is no scenario raises ConfigError with one line that says what to change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from inspect import cleandoc
from pathlib import Path
from types import ModuleType
from typing import Final

from attrs import evolve, field, fields, frozen

from gossipsync.errors import ConfigError
from gossipsync.sim.options import Options
from gossipsync.sim.result import Figure, Result
from gossipsync.sim.run import Clock, Look, Make, Watch, run
from gossipsync.sim.simulation import Simulation

Measure = Callable[[Simulation], dict[str, Figure]]
"""A scenario's own `figures(simulation)`: what its run was for, by name, when it has ended."""
_PACKAGE: Final = "gossipsync.sim.scenarios"
_OPTION_NAMES: Final = frozenset(attribute.name for attribute in fields(Options))
_LARGEST_FILE: Final = 1 << 20


@frozen
class Scenario:
    """A named world; what differs from the defaults is in `changes`."""

    name: str
    """As the command line takes it: a name, or the path of a file."""
    text: str = field(repr=False)
    """The file's text, so that another process or machine can load it without the file."""
    docstring: str = field(repr=False)
    changes: Mapping[str, object]
    sweep: Mapping[str, Sequence[object]]
    make: Make = field(repr=False, default=Simulation)
    measure: Measure | None = field(repr=False, default=None)

    @property
    def title(self) -> str:
        """The docstring's first line."""
        return self.docstring.partition("\n")[0]

    def options(self, **changes: object) -> Options:
        """The options of this world with some changed, checked. Raises ConfigError."""
        return Options().replaced(**{**self.changes, **changes}).check()

    def command(self, options: Options) -> str:
        """The command line that runs this world again."""
        return " ".join(["gossipsync sim run", self.name, *options.arguments(self.options())])

    def run(
        self,
        options: Options,
        *,
        clock: Clock | None = None,
        watch: Watch | None = None,
        stop: Callable[[], bool] | None = None,
        look: Look | None = None,
    ) -> Result:
        """Run it once; arguments as `gossipsync.sim.run`."""
        worlds: list[Simulation] = []

        def seen(simulation: Simulation) -> None:
            worlds[:] = [simulation]
            if look is not None:
                look(simulation)

        result = run(options, clock=clock, watch=watch, stop=stop, look=seen, make=self.make)
        if self.measure is None:
            return result
        return evolve(result, figures=self.measure(worlds[0]))


def names() -> tuple[str, ...]:
    """The scenarios that come with the package, sorted."""
    return tuple(
        sorted(
            entry.name.removesuffix(".py").replace("_", "-")
            for entry in files(_PACKAGE).iterdir()
            if entry.name.endswith(".py") and not entry.name.startswith("_")
        )
    )


def load(name: str) -> Scenario:
    """A scenario by its name, or from a file. Raises ConfigError for what is neither."""
    if name in names():
        source = files(_PACKAGE).joinpath(name.replace("-", "_") + ".py")
        return loaded(name, source.read_text(encoding="utf-8"))
    path = Path(name)
    try:
        if path.is_file() and path.stat().st_size <= _LARGEST_FILE:
            return loaded(name, path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name} cannot be read as a scenario: {error}") from error
    raise ConfigError(
        f"there is no scenario and no scenario file {name!r}; scenarios: {', '.join(names())}"
    )


def loaded(name: str, text: str) -> Scenario:
    """A scenario from its file's text. Raises ConfigError."""
    module = ModuleType("gossipsync_scenario")
    module.__file__ = name
    try:
        exec(compile(text, name, "exec"), module.__dict__)  # noqa: S102 - the user's own program
    except Exception as error:
        raise ConfigError(f"{name} is no scenario: {type(error).__name__}: {error}") from error
    changes = _mapping(name, module, "OPTIONS")
    sweep: dict[str, Sequence[object]] = {}
    for option, values in _mapping(name, module, "SWEEP").items():
        if not isinstance(values, tuple | list) or not values:
            raise ConfigError(f"{name}: SWEEP[{option!r}] is a list of values; give it some")
        sweep[option] = values
    docstring = cleandoc(module.__doc__ or "")
    if not docstring or "OPTIONS" not in module.__dict__:
        raise ConfigError(f"{name} is no scenario; it needs a docstring and OPTIONS = {{…}}")
    make: Make = getattr(module, "make", Simulation)
    measure: Measure | None = getattr(module, "figures", None)
    return Scenario(name, text, docstring, changes, sweep, make, measure)


def _mapping(name: str, module: ModuleType, what: str) -> dict[str, object]:
    found = getattr(module, what, {})
    if not isinstance(found, dict):
        raise ConfigError(f"{name}: {what} is a dict of options, not {type(found).__name__}")
    for option in found:
        if option not in _OPTION_NAMES:
            raise ConfigError(f"{name}: {what} names {option!r}; options: {_known()}")
    return dict(found)


def _known() -> str:
    return ", ".join(sorted(_OPTION_NAMES))
