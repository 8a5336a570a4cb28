"""The trio runtime: the only part that touches sockets, clocks, files of secrets and threads.

It drives the core and never decides for it; everything a remote can do wrong is mapped, at this
border, to gossipsync's own errors with stable reasons.
"""
