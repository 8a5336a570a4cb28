"""Golden bytes of the way to a link and around it: hello, refusal, enrolment, cluster key, certificate extensions, archive."""

from __future__ import annotations

from hashlib import sha256
from io import BytesIO

from gossipsync.cli._archive import write_archive
from gossipsync.core.model import strict
from gossipsync.core.model.ids import Epoch, NetworkId
from gossipsync.core.wire.hello import Handshake, LocalHello, Session
from gossipsync.core.wire.hello_codec import encode_refusal
from gossipsync.core.wire.versions import OWN_PROTOCOLS
from gossipsync.runtime.trust import Identity, credentials_from_cluster_key
from gossipsync.runtime.trust.cluster_key import derive_secrets
from gossipsync.runtime.trust.enrol import _proof

CLUSTER_KEY = "gsk1-aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwha5dyp5mo3l"
"""Of the secret bytes 0 to 31."""


def handshake(network: NetworkId, dialer: Identity, listener: Identity) -> dict[str, object]:
    """Both frames of both ends, as hex."""
    certificates = {
        end.peer_id: sha256(b"certificate of " + end.peer_id).digest() for end in (dialer, listener)
    }
    ends = []
    for own, other, is_dialer in ((dialer, listener, True), (listener, dialer, False)):
        session = Session(
            is_dialer,
            network,
            own.peer_id,
            other.peer_id,
            certificates[own.peer_id],
            certificates[other.peer_id],
            sha256(b"nonce of " + own.peer_id).digest(),
        )
        says = LocalHello(
            "dialer" if is_dialer else "listener",
            Epoch(7),
            "192.0.2.7:7946" if is_dialer else None,
            "0.1.0",
        )
        ends.append(Handshake(session, says, sign=own.sign, verify=lambda *_: True))
    first, second = ends
    hellos = (first.start(), second.start())
    auths = (first.receive(hellos[1]), second.receive(hellos[0]))
    return {
        "certificates": {key.hex(): value.hex() for key, value in certificates.items()},
        "dialer": [hellos[0].hex(), auths[0].hex()],
        "listener": [hellos[1].hex(), auths[1].hex()],
        "refuse": encode_refusal(OWN_PROTOCOLS).hex(),
    }


def enrolment(network: NetworkId, joiner: Identity) -> dict[str, object]:
    """The signed proof, and the messages around it."""
    proof = _proof(network, joiner.peer_id, b"j" * 32, b"i" * 32, b"invite DER", b"issuer DER")
    messages = {
        "begin": [1, 1, b"j" * 32],
        "challenge": [2, b"i" * 32],
        "prove": [3, joiner.peer_id, joiner.sign(proof)],
        "grant": [4, b"member DER", bytes(32)],
        "refuse": [5, "invite-spent"],
    }
    return {
        "proof": proof.hex(),
        **{name: strict.encode(message).hex() for name, message in messages.items()},
    }


def cluster(identity: Identity) -> dict[str, object]:
    """What follows from a cluster key; the authority's certificate is the same for every holder."""
    secrets = derive_secrets(CLUSTER_KEY)
    credentials = credentials_from_cluster_key(CLUSTER_KEY, identity)
    return {
        "text": CLUSTER_KEY,
        "authority_key": secrets.ca_key.private_bytes_raw().hex(),
        "authority": credentials.ca_certificate.hex(),
        "network": credentials.network_id.hex(),
        "token_key": credentials.token_key.hex(),
    }


def archive(pieces: list[bytes]) -> str:
    """An archive of one peer's pieces."""
    file = BytesIO()
    write_archive(file, [(b"certificate", pieces)])
    return file.getvalue().hex()

