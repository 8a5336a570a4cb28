"""Scenarios load by name and from files, say what they show, and run; what is no scenario says what to change."""

from pathlib import Path

import pytest

from gossipsync.errors import ConfigError
from gossipsync.sim.scenarios import load, names

PROMISED = {
    *("one-update", "flow-gossip", "partition-heal", "churn"),
    *("session-storm", "edge-10000", "late-joiner", "life"),
}
SMALL: dict[str, dict[str, object]] = {
    "churn": {"peers": 20, "updates": 20, "quiet": 6.0, "churn": 3.0},
    "edge-10000": {"peers": 40, "until": 2.0},
    "flow-gossip": {"peers": 8, "writers": 8, "until": 6.0},
    "flow-gossip-controlled": {"peers": 8, "writers": 8, "until": 6.0},
    "life": {"rate": 1.0, "updates": 30, "churn": 0.3, "crashes": 0.6, "clones": 0.6}
    | {"interval": 2.0, "quiet": 30.0, "until": 50.0},
    "late-joiner": {"peers": 3, "writers": 1, "updates": 60, "rate": 10.0},
    "one-update": {"peers": 30},
    "partition-heal": {"peers": 20, "writers": 20, "updates": 30, "partition": (1.0, 2.0, 0.5)},
    "plain": {"peers": 20},
    "session-storm": {"peers": 12, "writers": 3, "updates": 200, "quiet": 1.0},
}


def test_the_promised_scenarios_are_there() -> None:
    assert set(names()) >= PROMISED
    assert set(names()) == set(SMALL)


@pytest.mark.parametrize("name", names())
def test_a_scenario_says_what_it_shows_and_how_to_read_it(name: str) -> None:
    scenario = load(name)
    assert scenario.title.endswith(("?", "."))
    assert "How to read it: " in scenario.docstring
    scenario.options().check()
    assert scenario.sweep


@pytest.mark.parametrize("name", sorted(set(SMALL) - {"late-joiner"}))
def test_a_small_world_of_it_runs_twice_the_same(name: str) -> None:
    scenario = load(name)
    first, second = (scenario.run(scenario.options(**SMALL[name], seed=3)) for _ in range(2))
    assert first.violations == ()
    assert first.trace_hash == second.trace_hash
    assert first.figures == second.figures
    if "flow" not in name:
        assert first.converged


def test_a_late_joiner_gets_all_keys(tmp_path: Path) -> None:
    text = load("late-joiner").text.replace("KEYS = 100_000", "KEYS = 2_000")
    path = tmp_path / "fewer.py"
    path.write_text(text, encoding="utf-8")
    scenario = load(str(path))
    result = scenario.run(scenario.options(**SMALL["late-joiner"]))
    assert result.converged
    assert result.violations == ()
    joined, caught_up = result.figures["joined_after_s"], result.figures["caught_up_after_s"]
    assert isinstance(joined, float)
    assert isinstance(caught_up, float)
    assert 0 < joined <= caught_up < 2


def test_a_short_life_loses_nothing_and_leaves_nothing_behind() -> None:
    """As in the whole day: restarts, old copies, clones; the horizon is over twice before the end."""
    scenario = load("life")
    hard = {"churn": 0.1, "crashes": 0.3, "clones": 0.15, "rate": 0.5, "updates": 150}
    short = {"interval": 2.0, "horizon": 60.0, "quiet": 300.0, "until": 420.0}
    result = scenario.run(scenario.options(**hard, **short, seed=1))
    figures = result.figures
    assert result.violations == ()
    assert result.converged
    for what in ("restarts", "restored", "clones", "told_cloned"):
        assert figures[what], what
    assert figures["digest_lines"] <= figures["open_epochs"]  # type: ignore[operator]


def test_the_core_of_many_edges_sends_no_more() -> None:
    scenario = load("edge-10000")
    few, many = (
        scenario.run(scenario.options(peers=peers, until=3.0)).figures for peers in (150, 300)
    )
    assert (few["edges"], many["edges"]) == (150 - 65, 300 - 65)
    sent = few["core_sent_bytes"], many["core_sent_bytes"]
    assert isinstance(sent[0], int)
    assert isinstance(sent[1], int)
    assert sent[1] < 1.3 * sent[0]
    assert isinstance(many["all_after_s"], float)


def test_writers_under_flow_control_stay_fresh() -> None:
    fresh = []
    for name in ("flow-gossip", "flow-gossip-controlled"):
        scenario = load(name)
        result = scenario.run(scenario.options(peers=8, writers=8, rate=60.0, until=15.0))
        fresh.append((result.figures["written"], result.figures["lag_max_s"]))
    (free, free_lag), (controlled, controlled_lag) = fresh
    assert controlled < free  # type: ignore[operator]
    assert controlled_lag < free_lag  # type: ignore[operator]


def test_the_command_says_what_is_unusual_for_the_scenario_alone() -> None:
    scenario = load("session-storm")
    options = scenario.options(seed=5, push=False, loss=0.2)
    assert scenario.command(options) == (
        "gossipsync sim run session-storm --seed 5 --loss 0.2 --push off"
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("x = 1", "needs a docstring"),
        ('"""Doc."""\nOPTIONS = {"pears": 3}', "names 'pears'"),
        ('"""Doc."""\nOPTIONS = 7', "OPTIONS is a dict"),
        ('"""Doc."""\nOPTIONS = {}\nSWEEP = {"peers": 5}', "list of values"),
        ('"""Doc."""\nimport nothing_of_that_name', "ModuleNotFoundError"),
        ("def", "SyntaxError"),
    ],
)
def test_a_file_that_is_no_scenario_says_why(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=complaint):
        load(str(path))


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'one-updat'.*one-update"):
        load("one-updat")


def test_impossible_options_of_a_scenario_are_refused() -> None:
    with pytest.raises(ConfigError, match="--loss"):
        load("one-update").options(loss=1.5)
