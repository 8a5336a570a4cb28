"""What every test shares: hypothesis profiles, the rule that CI skips nothing silently, and that bugs are not swallowed."""

import logging
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

_IN_CI = os.environ.get("CI", "").lower() not in {"", "0", "false"}
_ALLOWED_SKIP = "not on this platform:"

# Slow machines are no bug, so no deadline. CI repeats the same examples: a red run is a red commit.
settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if _IN_CI else "local")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "plants_bugs: raises within the engine on purpose")
    if _IN_CI:
        config.pluginmanager.register(_RefuseSkips(), "refuse-skips")


class _RefuseSkips:
    """Fails the session if a test was skipped for a reason that CI should have provided for."""

    def __init__(self) -> None:
        self.skipped: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._note(report)

    def _note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if not report.skipped or hasattr(report, "wasxfail"):
            return
        longrepr = report.longrepr
        reason = longrepr[2] if isinstance(longrepr, tuple) else str(longrepr)
        reason = reason.removeprefix("Skipped: ")
        if not reason.startswith(_ALLOWED_SKIP):
            self.skipped.append(f"{report.nodeid}: {reason}")

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.skipped and session.exitstatus in {
            pytest.ExitCode.OK,
            pytest.ExitCode.NO_TESTS_COLLECTED,
        }:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.skipped:
            terminalreporter.section("skipped in CI, which counts as failure", red=True)
            for line in self.skipped:
                terminalreporter.line(line)
            terminalreporter.line(f'(allowed: a reason that begins with "{_ALLOWED_SKIP}")')


class _Bugs(logging.Handler):
    """Collects what the engine survives in service and must not survive in a test."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, entry: logging.LogRecord) -> None:
        if "a bug in gossipsync" in entry.getMessage():
            trace = logging.Formatter().formatException(entry.exc_info) if entry.exc_info else ""
            self.found.append(f"{entry.getMessage()}\n{trace}")


@pytest.fixture(autouse=True)
def no_bugs(request: pytest.FixtureRequest) -> Iterator[None]:
    """An exception that the engine noted and survived fails the test, unless the test plants it."""
    bugs, logger = _Bugs(), logging.getLogger("gossipsync")
    logger.addHandler(bugs)
    yield
    logger.removeHandler(bugs)
    if bugs.found and request.node.get_closest_marker("plants_bugs") is None:
        pytest.fail("\n".join(bugs.found), pytrace=False)
