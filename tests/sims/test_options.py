"""Impossible worlds are refused with one line that says what to change."""

import math

import pytest

from gossipsync.cli._sim_options import parsed
from gossipsync.errors import ConfigError
from gossipsync.sim import Options, run

IMPOSSIBLE: list[tuple[dict[str, object], str]] = [
    ({"peers": 0}, "--peers"),
    ({"peers": 10**9}, "--peers"),
    ({"loss": 1.1}, "--loss"),
    ({"loss": math.nan}, "--loss"),
    ({"latency": -1.0}, "--latency"),
    ({"interval": 0.0}, "--interval"),
    ({"fanout": 0}, "--fanout"),
    ({"writers": 11, "peers": 10}, "--writers"),
    ({"updates": -1}, "--updates"),
    ({"budget": 0}, "--budget"),
    ({"rogues": 1.0}, "--rogues"),
    ({"until": 0.0}, "--until"),
    ({"until": math.nan}, "--until"),
    ({"until": 5.0, "partition": (5.0, 1.0, 0.5)}, "--partition"),
    ({"partition": (1.0, 0.0, 0.5)}, "--partition"),
    ({"partition": (1.0, 1.0, 1.0)}, "--partition"),
    ({"ordering": "best"}, "--ordering"),
    ({"workload": "none"}, "--workload"),
    ({"rate": 0.0}, "--rate"),
    ({"churn": -0.1}, "--churn"),
    ({"cuts": 61.0}, "--cuts"),
    ({"clones": -1.0}, "--clones"),
    ({"ack": "most"}, "--ack"),
    ({"ack": "-1"}, "--ack"),
    ({"horizon": 0.5}, "--horizon"),
    ({"max_skew": 0.0}, "--max-skew"),
    ({"trim_after": -1.0}, "--trim-after"),
    ({"seed": -1}, "--seed"),
    ({"silent": 1.5}, "--silent"),
    ({"endless": -0.1}, "--endless"),
    ({"peers": 4, "writers": 2, "silent": 0.5, "endless": 0.25}, "--silent"),
    ({"peers": 4, "writers": 2, "endless": 0.75}, "--endless"),
    ({"rollbacks": 61.0}, "--rollbacks"),
    ({"clone_skew": -1.0}, "--clone-skew"),
    ({"apart": -1.0}, "--apart"),
    ({"apart": 5.0}, "--apart"),
    ({"apart": 5.0, "membership": "on", "start": "warm"}, "--apart"),
    ({"apart": 5.0, "membership": "on", "start": "cold", "quiet": 5.0}, "--apart"),
    ({"apart": 5.0, "membership": "on", "start": "cold", "until": 4.0}, "--apart"),
    ({"restart_after_meeting": 2.0, "quiet": 5.0}, "--restart-after-meeting"),
    ({"restart_after_meeting": 0.5}, "--restart-after-meeting"),
    ({"joiners": (0, 1.0)}, "--joiners"),
    ({"joiners": (2, math.nan)}, "--joiners"),
    ({"joiners": (2, 5.0), "quiet": 5.0}, "--joiners"),
]


@pytest.mark.parametrize(("options", "named"), IMPOSSIBLE)
def test_impossible(options: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        run(**options)
    message = str(caught.value)
    assert message.startswith(named)
    assert "\n" not in message


def test_the_command_names_what_differs_from_the_defaults() -> None:
    options = Options(peers=9, seed=4, loss=0.1, partition=(1.0, 2.5, 0.5), push=True)
    assert options.command() == (
        "gossipsync sim run --peers 9 --seed 4 --loss 0.1 --partition 1:2.5:0.5 --push on"
    )


def test_the_command_of_a_world_of_starts_can_be_parsed_again() -> None:
    options = Options(
        membership="on", start="cold", apart=4.5, joiners=(6, 20.25), silent=0.1, quiet=30.0
    )
    command = options.command()
    assert command.endswith("--apart 4.5 --joiners 6@20.25 --quiet 30.0")
    words = command.split()[3:]
    given = {
        name.removeprefix("--").replace("-", "_"): text
        for name, text in zip(words[::2], words[1::2], strict=True)
    }
    assert Options(**{name: parsed(name, text) for name, text in given.items()}) == options  # type: ignore[arg-type]
