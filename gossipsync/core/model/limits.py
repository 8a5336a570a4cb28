"""Every bound on what a remote, or our own application, can make a peer hold or compute, each with its reason."""

from __future__ import annotations

from attrs import frozen


@frozen
class Limits:
    """Named limits of one peer. Sizes in bytes, spans in seconds."""

    frame_bytes: int = 1 << 20
    """A message after authentication: room for the largest bundle, small enough to buffer for every link."""
    bundle_bytes: int = 896 << 10
    """A bundle with its signature: fits a frame with the delta's own parts beside it."""
    value_bytes: int = 256 << 10
    """One encoded value: a session, not a file."""
    seal_entries: int = 256
    """Group commit: a signature costs as much as decoding some 200 entries, so more entries gain little."""
    seal_bytes: int = 128 << 10
    """Group commit: a bundle that is on the wire within a millisecond on a slow link."""
    seal_delay_s: float = 0.010
    """Group commit: the longest that a write waits for company."""
    crowd_entries: int = 8
    """Group commit: after a bundle of so many entries the next gathers for `gather_s`, since writes come faster than bundles."""
    gather_s: float = 0.002
    """Group commit: long enough that a busy writer fills bundles, too short to be noticed beside a network's latency."""
    batch_entries: int = 8192
    """Entries of one atomic batch; with `bundle_bytes` it bounds the work done under the lock."""
    pending_bytes: int = 32 << 20
    """Own writes not yet committed to the store: back-pressure reaches the writer here."""
    unconfirmed_bytes: int = 32 << 20
    """Own bundles that no linked member has stored yet: back-pressure reaches the writer here where the mesh is what is slow."""
    delta_bytes: int = 256 << 10
    """The largest budget of one delta: what a link that keeps up gets."""
    delta_first_bytes: int = 64 << 10
    """What is asked for first over a new link: high, for a timid start costs round trips, and yet through a slow link in seconds."""
    delta_step_bytes: int = 16 << 10
    """By so much a budget grows with each delta that was through in time."""
    delta_least_bytes: int = 4 << 10
    """No budget shrinks below this: some bundles of a few entries."""
    delta_s: float = 1.0
    """A delta under way for longer halves its link's budget: what is fresh waits behind it."""
    wanted_lines: int = 512
    """Lines asked for in one message."""
    span_bundles: int = 64
    """Bundles of one line asked from one member at a time, so that several members share a long log."""
    reassembly_bytes: int = 8 << 20
    """Bundles that arrived before their predecessors, over all links."""
    trim_after_s: float = 60.0
    """How long entries that have lost stay in their bundles, so that a peer that restarts catches up from whole logs."""
    log_waste_bytes: int = 32 << 20
    """Entries that have lost, over all logs: beyond, the oldest go at once."""
    history_bytes: int = 64 << 20
    """Entries kept only for the history of their buckets, over all logs: beyond, the oldest go early."""
    link_queue_bytes: int = 2 << 20
    """Bytes handed to a link and not yet sent: beyond, the link gets no pushes until it has drained."""
    digest_lines: int = 1024
    """Lines in one message; a longer list is cut and the rest follows in a later exchange."""
    survey_rows: int = 512
    """Ranges asked about in one message of a reconciliation, and an eighth of the cells; answers stay below `delta_bytes`."""
    early_bytes: int = 4 << 20
    """Own entries that our own forgotten past beats, until they are stamped anew, a round later."""
    covered_lines: int = 4096
    """Lines of ended epochs that are remembered, told to joiners and proven to whoever lacks them: 300 bytes each. Whose are most gives way."""
    proofs: int = 1024
    """Proofs that an origin has signed two histories of a log of which we hold nothing, about 1 kB each; those of other logs are bounded
    as these are, by `logs`. None is ever forgotten: what was frozen once must stay so, or old branches could be told anew."""
    proofs_per_peer: int = 64
    """Of these, logs of one peer's epochs, so that one rogue cannot use up `proofs`."""
    proof_bytes: int = 2560
    """One such proof: two headers with the longest of names."""
    votes: int = 4096
    """Cells about which members disagree, remembered until enough of them have said so."""
    run_cells: int = 131_072
    """Cells that one reconciliation names, and ranges that it holds, beside what one message more brings: some 30 MB. Where there is
    more, it takes what was named, and another goes on from there."""
    sources: int = 1024
    """Members remembered because they did not deliver the data that they were asked for, 200 bytes each."""
    looks: int = 16
    """Looks at other members under way at once: each may hold `look_bytes`."""
    look_bytes: int = 64 << 20
    """Pieces that one look takes in: what a person or a program can want to see of another's bucket at once."""
    look_keys: int = 100_000
    """Keys, or lines, that one look takes in."""
    look_rows: int = 2048
    """Keys, or lines, asked for in one question of a look, where these are no longer than `delta_bytes` in all."""
    look_pages: int = 4096
    """Questions of one look: a member that shows nothing and always more to come is left after so many."""
    look_key_bytes: int = 1 << 20
    """Cells of one key that are shown: a key with more is not."""
    looks_held: int = 16
    """Answers to looks that wait for our own store, over all links."""
    leaf_lines: int = 24
    """A range with no more lines than this is sent as lines instead of being split further."""
    logs: int = 65536
    """Version-vector lines over all buckets: what a flood of invented origins can make us hold (about 1 kB each)."""
    lines_per_link: int = 16384
    """Lines that one member may claim to have more of, and origins it may prune, so that it cannot crowd out others."""
    logs_per_peer: int = 4096
    """Version-vector lines of one peer's epochs, so that one member cannot use up `logs`."""
    buckets: int = 1024
    """Buckets, whether opened here or only replicated."""
    members: int = 20000
    """Members known."""
    presence_bytes: int = 1024
    """One presence datum."""
    presence_batch_bytes: int = 8 << 10
    """Presence carried beside one exchange."""
    token_ask_s: float = 0.05
    """Between two exchanges with one member for the sake of tokens: whoever shows us a cookie must not make us chatter."""
    token_partners: int = 4
    """Members asked at a time for what a token names, where its maker is not linked."""
    statements: int = 64
    """Statements (about 250 bytes each) in one message."""
    statement_bytes: int = 320
    """One statement."""
    statements_per_s: float = 1.0
    """Statements of one member a second that we verify and pass on, over a burst of `statements`: it loses few others at once."""
    spread_bytes: int = 512 << 10
    """Statements that we pass on at once, over all links: what a tenth of a mesh of a thousand makes others say when it dies at once."""
    spread_bytes_per_s: int = 32 << 10
    """Statements that we pass on beyond that: the rest waits, so that no failure of many costs a peer more the larger the mesh is."""
    probes: int = 32
    """Members that we probe at once, each with up to three scouts: others wait until one of these has come to its end."""
    doubts: int = 16
    """Own doubts at once: all of a view, and whom the dials of some rounds missed."""
    doubts_per_s: float = 4.0
    """Own doubts a second over a burst of `doubts`: whoever misses more may be the one that is cut off."""
    dismissals: int = 1024
    """Members given up whose dismissal is kept, for a horizon: an operator's work, one at a time."""
    reaches_per_link: int = 8
    """Members that we try to reach at once because one other cannot: each may cost a dial."""
    known_rows: int = 512
    """Peers named or asked for in one message: more than change in a mesh of any size while news spreads."""
    credential_bytes: int = 12 << 10
    """One certificate: 64 bucket patterns of 128 bytes, and X.509 around them."""
    exchanges_per_link: int = 4
    """Exchanges that a remote may keep open with us at once."""
    messages_per_s: float = 2000.0
    """Messages a link may send us a second, averaged over a burst of as many: above any honest peer's, below a flood."""
    change_keys: int = 100_000
    """Changes in the log that watchers read from, and beyond these keys that are gone from the state: whoever lags further is told."""
    links: int = 256
    """Links that others may open to us, above what we ask for ourselves."""
    wanted_span_s: float = 10.0
    """How long one member may take to answer a request before another is asked."""
