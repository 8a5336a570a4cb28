"""As `flow-gossip`, with writers that slow down while they are behind: does the mesh stay fresh under any load?

Each writer is allowed a rate of its own. Once a round it looks at how many bundles it knows of and lacks: more than a few, and its
rate is halved; otherwise a little is added (additive increase, multiplicative decrease, as the paper has it and TCP before it).
What an application wants to write beyond its rate is refused. Nothing but `Peer.queues()` is asked: any application
can do the same.

How to read it: as `flow-gossip`. `written` stops growing with `rate`, and the lags stay where they were below capacity.
"""

from gossipsync.sim.driver import Driver
from gossipsync.sim.options import Options
from gossipsync.sim.scenarios import flow_gossip
from gossipsync.sim.scenarios.flow_gossip import NarrowMesh

OPTIONS = flow_gossip.OPTIONS
SWEEP = flow_gossip.SWEEP
FEW_BUNDLES = 8
FIRST_RATE = 0.1
MORE_A_ROUND = 0.005
"""Updates a second, of one writer."""


class ControlledMesh(NarrowMesh):
    """A mesh whose writers have allowances that grow with their rates."""

    def __init__(self, options: Options, *, keeps_trace: bool = False) -> None:
        super().__init__(options, keeps_trace=keeps_trace)
        self._rates = dict.fromkeys(range(options.writers), FIRST_RATE)
        self._allowances = dict.fromkeys(range(options.writers), 0.0)

    def _begin(self) -> None:
        self._control()
        super()._begin()

    def _control(self) -> None:
        for number in self._rates:
            peer = self.drivers[number].peer
            if peer is not None:
                is_behind = peer.queues()["bundles_behind"] > FEW_BUNDLES
                rate = self._rates[number]
                self._rates[number] = rate / 2 if is_behind else rate + MORE_A_ROUND
            earned = self._rates[number] * self.options.interval
            self._allowances[number] = min(2.0, self._allowances[number] + earned)
        self.world.after(self.options.interval, self._control)

    def writers(self) -> list[Driver]:
        """Whoever may write now; each time one is asked for, the one with the largest allowance."""
        most = max(self._allowances, key=lambda number: self._allowances[number])
        if self._allowances[most] < 1:
            return []
        self._allowances[most] -= 1
        return [self.drivers[most]]


make = ControlledMesh
figures = flow_gossip.figures
