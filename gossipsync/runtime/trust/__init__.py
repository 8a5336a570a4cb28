"""Trust: keys, certificates, credentials and how peers obtain them.

One package because these secrets belong together and nowhere else; the core sees of them a key, a
capability and two callables.
"""

from gossipsync.runtime.trust.cluster_key import keygen
from gossipsync.runtime.trust.credentials import Credentials, credentials_from_cluster_key
from gossipsync.runtime.trust.folder import create_network, load_folder
from gossipsync.runtime.trust.identity import Identity, load_or_create_identity
from gossipsync.runtime.trust.invites import create_invite, parse_invite
from gossipsync.runtime.trust.verifier import X509Verifier

__all__ = [
    "Credentials",
    "Identity",
    "X509Verifier",
    "create_invite",
    "create_network",
    "credentials_from_cluster_key",
    "keygen",
    "load_folder",
    "load_or_create_identity",
    "parse_invite",
]
