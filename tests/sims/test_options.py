"""Impossible worlds are refused with one line that says what to change."""

import math

import pytest

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
