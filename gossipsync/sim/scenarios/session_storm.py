"""Sessions log in, come back and log out for good, on machines whose clocks disagree by seconds: does a logout hold?

Fifty peers, ten of them taking requests, 50 a second: logins, touches that put off expiry, and final deletes, each at
whichever peer the request happens to reach. Clocks are up to five seconds off, drift, and are set anew now and then; a
tenth of the frames is late or has to be sent again.

How to read it: what matters is `violations`, which stays empty: no session that was ended comes back, whatever the clocks say
and in whatever order updates arrive. Staleness is the time for which an ended session may still be read elsewhere.
"""

OPTIONS = {
    "peers": 50,
    "writers": 10,
    "workload": "sessions",
    "rate": 50.0,
    "updates": 1500,
    "push": True,
    "jitter": 0.2,
    "skew": 5000.0,
    "clock_steps": 0.2,
    "loss": 0.1,
    "quiet": 40.0,
}
SWEEP = {"skew": (0.0, 1000.0, 5000.0), "seed": (1, 2, 3)}
