"""What every test shares: hypothesis profiles, and the rule that CI skips nothing silently."""

import os

import pytest
from hypothesis import settings

_IN_CI = os.environ.get("CI", "").lower() not in {"", "0", "false"}
_ALLOWED_SKIP = "not on this platform:"

# Slow machines are no bug, so no deadline. CI repeats the same examples: a red run is a red commit.
settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if _IN_CI else "local")


def pytest_configure(config: pytest.Config) -> None:
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
