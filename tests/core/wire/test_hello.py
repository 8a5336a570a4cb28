"""The hello as a dialogue between two ends that share no socket."""

import pickle
from hashlib import sha256

import pytest
from attrs import evolve
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gossipsync.core.model import strict
from gossipsync.core.model.ids import Epoch, NetworkId, PeerId
from gossipsync.core.wire.framing import frame
from gossipsync.core.wire.hello import (
    Handshake,
    HelloError,
    HelloReason,
    LocalHello,
    Session,
    Stranger,
)
from gossipsync.core.wire.hello_codec import encode_refusal
from gossipsync.core.wire.versions import Protocols

NETWORK = NetworkId(b"n" * 32)
DIALER_KEY = Ed25519PrivateKey.from_private_bytes(b"d" * 32)
LISTENER_KEY = Ed25519PrivateKey.from_private_bytes(b"l" * 32)
DIALER = PeerId(DIALER_KEY.public_key().public_bytes_raw())
LISTENER = PeerId(LISTENER_KEY.public_key().public_bytes_raw())
CERTIFICATES = {DIALER: sha256(b"dialer's").digest(), LISTENER: sha256(b"listener's").digest()}
DIALER_SAYS = LocalHello("ada", Epoch(7), "10.0.0.1:7946", "0.1.0")
LISTENER_SAYS = LocalHello("bea", Epoch(9), None, "0.1.0")


def verify(key: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def dialer_session() -> Session:
    return Session(
        True, NETWORK, DIALER, LISTENER, CERTIFICATES[DIALER], CERTIFICATES[LISTENER], b"1" * 32
    )


def listener_session() -> Session:
    return Session(
        False, NETWORK, LISTENER, DIALER, CERTIFICATES[LISTENER], CERTIFICATES[DIALER], b"2" * 32
    )


def dialer(session: Session | None = None, hello: LocalHello = DIALER_SAYS) -> Handshake:
    return Handshake(session or dialer_session(), hello, sign=DIALER_KEY.sign, verify=verify)


def listener(session: Session | None = None, hello: LocalHello = LISTENER_SAYS) -> Handshake:
    return Handshake(session or listener_session(), hello, sign=LISTENER_KEY.sign, verify=verify)


def refusal(end: Handshake, data: bytes) -> HelloReason:
    with pytest.raises(HelloError) as caught:
        end.receive(data)
    assert end.remote is None
    return caught.value.reason


def hello_frame(*changes: tuple[int, object]) -> bytes:
    """The dialer's HELLO with some of its eight members changed."""
    said = {"name": "ada", "epoch": 7, "address": None, "software": "0.1.0"}
    message: list[object] = [1, 2, 2, NETWORK, DIALER, b"1" * 32, said, {}]
    for place, value in changes:
        message[place] = value
    return frame(strict.encode(message))


def saying(**changes: object) -> bytes:
    said = {"name": "ada", "epoch": 7, "address": None, "software": "0.1.0"} | changes
    return hello_frame((6, said))


def test_both_ends_come_up_only_after_the_others_auth() -> None:
    a, b = dialer(), listener()
    a_auth = a.receive(b.start())
    b_auth = b.receive(a.start())
    assert a.remote is None
    assert b.remote is None
    assert a.receive(b_auth) == b""
    assert b.receive(a_auth + b"what follows") == b""
    assert a.remote is not None
    assert (a.remote.peer_id, a.remote.name, a.remote.epoch) == (LISTENER, "bea", 9)
    assert b.remote is not None
    assert (b.remote.peer_id, b.remote.address) == (DIALER, "10.0.0.1:7946")
    assert (a.leftover, b.leftover) == (b"", b"what follows")
    assert b.receive(b" later") == b""
    assert b.leftover == b"what follows later"


def test_a_byte_at_a_time_is_as_good() -> None:
    a, b = dialer(), listener()
    to_b = a.start() + a.receive(b.start())
    for byte in to_b:
        b.receive(bytes([byte]))
    assert b.remote is not None


def test_every_flipped_bit_is_refused_or_starves() -> None:
    a, b = dialer(), listener()
    to_b = a.start() + a.receive(b.start())
    for place in range(len(to_b)):
        for bit in range(8):
            flipped = bytearray(to_b)
            flipped[place] ^= 1 << bit
            end = listener()
            try:
                end.receive(bytes(flipped))
            except HelloError:
                pass
            assert end.remote is None, f"byte {place}, bit {bit}"


def test_own_hello_sent_back_is_a_reflection() -> None:
    a = dialer()
    assert refusal(a, a.start()) is HelloReason.SELF


def test_our_own_key_in_another_process_is_a_clone() -> None:
    session = evolve(listener_session(), key=DIALER)
    assert refusal(listener(session, DIALER_SAYS), dialer().start()) is HelloReason.SELF
    assert refusal(listener(session), dialer().start()) is HelloReason.CLONE
    unproven = evolve(session, remote_key=LISTENER)
    assert refusal(listener(unproven), dialer().start()) is HelloReason.SELF


def test_own_auth_sent_back_does_not_verify() -> None:
    a, b = dialer(), listener()
    own_auth = a.receive(b.start())
    assert refusal(a, own_auth) is HelloReason.SIGNATURE


def test_same_nonce_under_another_key_is_a_reflection() -> None:
    end = listener(evolve(listener_session(), nonce=b"1" * 32))
    assert refusal(end, dialer().start()) is HelloReason.SELF


def test_an_auth_from_another_connection_is_refused() -> None:
    a, b = dialer(), listener()
    old = a.start() + a.receive(b.start())
    fresh = listener(evolve(listener_session(), nonce=b"3" * 32))
    assert refusal(fresh, old) is HelloReason.SIGNATURE


@pytest.mark.parametrize("field", ["certificate_sha256", "remote_certificate_sha256"])
def test_another_certificate_on_either_end_is_refused(field: str) -> None:
    a = dialer()
    b = listener(evolve(listener_session(), **{field: bytes(32)}))
    assert refusal(b, a.start() + a.receive(b.start())) is HelloReason.SIGNATURE


def test_two_dialers_do_not_take_each_other_for_listeners() -> None:
    a = dialer()
    b = listener(evolve(listener_session(), is_dialer=True))
    assert refusal(b, a.start() + a.receive(b.start())) is HelloReason.SIGNATURE


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (hello_frame((1, 3), (2, 3)), HelloReason.VERSION),
        (hello_frame((1, 0), (2, 0)), HelloReason.VERSION),
        (hello_frame((1, 1), (2, 1)), HelloReason.VERSION),
        (frame(strict.encode([1, 3, "anything later"])), HelloReason.VERSION),
        (frame(strict.encode([1, 2, "no hello of 2"])), HelloReason.GARBAGE),
        (frame(strict.encode([1])), HelloReason.GARBAGE),
        (hello_frame((1, 2**16)), HelloReason.GARBAGE),
        (hello_frame((1, 1 << 62)), HelloReason.GARBAGE),
        (hello_frame((1, -1)), HelloReason.GARBAGE),
        (hello_frame((2, 3)), HelloReason.GARBAGE),
        (hello_frame((2, -1)), HelloReason.GARBAGE),
        (hello_frame((2, None)), HelloReason.GARBAGE),
        (hello_frame((2, True)), HelloReason.GARBAGE),
        (hello_frame((3, b"x" * 32)), HelloReason.NETWORK),
        (hello_frame((4, LISTENER)), HelloReason.SELF),
        (hello_frame((4, PeerId(b"\x05" * 32))), HelloReason.KEY),
        (hello_frame((4, b"\x01" + bytes(31))), HelloReason.KEY),
        (hello_frame((4, b"short")), HelloReason.KEY),
        (hello_frame((4, "text")), HelloReason.GARBAGE),
        (hello_frame((5, b"short")), HelloReason.GARBAGE),
        (hello_frame((0, 2)), HelloReason.GARBAGE),
        (hello_frame((0, True)), HelloReason.GARBAGE),
        (hello_frame((1, True)), HelloReason.GARBAGE),
        (hello_frame((6, {})), HelloReason.GARBAGE),
        (hello_frame((7, [])), HelloReason.GARBAGE),
        (hello_frame((7, {b"bytes": 1})), HelloReason.GARBAGE),
        (hello_frame((7, {str(n): n for n in range(33)})), HelloReason.GARBAGE),
        (hello_frame((7, {"deep": [[[[[1]]]]]})), HelloReason.GARBAGE),
        (hello_frame((7, {"long": bytes(5000)})), HelloReason.OVERSIZE),
        (saying(extra=1), HelloReason.GARBAGE),
        (saying(name=""), HelloReason.GARBAGE),
        (saying(name="x" * 129), HelloReason.GARBAGE),
        (saying(epoch=True), HelloReason.GARBAGE),
        (saying(epoch=-1), HelloReason.GARBAGE),
        (saying(epoch=2**63), HelloReason.GARBAGE),
        (saying(address=""), HelloReason.GARBAGE),
        (saying(address="host"), HelloReason.GARBAGE),
        (saying(address="host:0"), HelloReason.GARBAGE),
        (saying(address="host:65536"), HelloReason.GARBAGE),
        (saying(address="\x1b[2J:1"), HelloReason.GARBAGE),
        (saying(address="h:" + "1" * 5000), HelloReason.OVERSIZE),
        (saying(software="x" * 65), HelloReason.GARBAGE),
        (frame(b""), HelloReason.GARBAGE),
        (frame(b"\xff" * 20), HelloReason.GARBAGE),
        (frame(strict.encode([2, bytes(64)])), HelloReason.GARBAGE),
        (b"\xff\xff\xff\xff", HelloReason.OVERSIZE),
        (b"GET / HTTP/1.1\r\n", HelloReason.OVERSIZE),
    ],
)
def test_what_is_no_hello_of_ours_has_a_reason(data: bytes, reason: HelloReason) -> None:
    assert refusal(listener(), data) is reason


@pytest.mark.parametrize(
    "auth", [[2, bytes(63)], [2, bytes(64), 1], [3, bytes(64)], [2, "x"], 2, [True, bytes(64)]]
)
def test_what_is_no_auth_is_garbage(auth: object) -> None:
    b = listener()
    b.receive(dialer().start())
    assert refusal(b, frame(strict.encode(auth))) is HelloReason.GARBAGE


def test_after_a_refusal_nothing_helps() -> None:
    a, b = dialer(), listener()
    good = a.start() + a.receive(b.start())
    refusal(b, frame(b""))
    assert refusal(b, good) is HelloReason.GARBAGE


def test_errors_survive_pickling() -> None:
    error = pickle.loads(pickle.dumps(HelloError(HelloReason.KEY, "why")))
    assert (error.reason, str(error)) == (HelloReason.KEY, "key: why")


# ---------------------------------------------------------------- versions


def speaking(lowest: int, highest: int, hello: LocalHello = DIALER_SAYS) -> LocalHello:
    return evolve(hello, protocols=Protocols(lowest, highest))


def pair(of_dialer: tuple[int, int], of_listener: tuple[int, int]) -> tuple[Handshake, Handshake]:
    return (
        dialer(hello=speaking(*of_dialer)),
        listener(hello=speaking(*of_listener, LISTENER_SAYS)),
    )


@pytest.mark.parametrize(
    ("one", "other", "agreed"),
    [
        ((2, 2), (2, 2), 2),
        ((2, 2), (2, 5), 2),
        ((2, 3), (1, 9), 3),
        ((3, 7), (4, 5), 5),
        ((4, 4), (2, 4), 4),
    ],
)
def test_the_greatest_common_protocol_is_agreed_on(
    one: tuple[int, int], other: tuple[int, int], agreed: int
) -> None:
    for a, b in (pair(one, other), pair(other, one)):
        a_auth, b_auth = a.receive(b.start()), b.receive(a.start())
        a.receive(b_auth)
        b.receive(a_auth)
        assert a.remote is not None
        assert b.remote is not None
        assert (a.remote.protocol, b.remote.protocol) == (agreed, agreed)


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        ((1, 1), "speaks protocol 1, this build speaks 2: upgrade it"),
        ((3, 3), "speaks protocol 3, this build speaks 2: upgrade this one"),
        ((4, 9), "speaks protocols 4 to 9, this build speaks 2: upgrade this one"),
    ],
)
def test_without_a_common_protocol_both_ends_say_so(theirs: tuple[int, int], words: str) -> None:
    a, b = pair((2, 2), theirs)
    with pytest.raises(HelloError, match=words) as caught:
        a.receive(b.start())
    assert caught.value.reason is HelloReason.VERSION
    assert caught.value.stranger == Stranger(Protocols(*theirs), "bea", None, "0.1.0")
    # The other end has the REFUSE, whether or not it has read the HELLO.
    with pytest.raises(HelloError, match="this build speaks") as told:
        b.receive(caught.value.reply)
    assert told.value.reason is HelloReason.VERSION
    assert told.value.stranger == Stranger(Protocols(2, 2))
    assert told.value.reply == b""


def test_a_refusal_may_come_in_place_of_the_auth() -> None:
    a = dialer()
    a.receive(listener().start())
    assert refusal(a, frame(encode_refusal(Protocols(3, 4)))) is HelloReason.VERSION


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ([3, "version", 4, 3, "a later part", {}], HelloReason.VERSION),
        ([3, "busy", 2, 2], HelloReason.TURNED_AWAY),
        ([3, "x" * 33, 2, 2], HelloReason.GARBAGE),
        ([3, "\x1b[2J", 2, 2], HelloReason.GARBAGE),
        ([3, "version", 1, 2], HelloReason.GARBAGE),
        ([3, "version", True, 1], HelloReason.GARBAGE),
        ([3, "version"], HelloReason.GARBAGE),
        ([3], HelloReason.GARBAGE),
    ],
)
def test_refusals_are_read_within_bounds(message: list[object], reason: HelloReason) -> None:
    assert refusal(dialer(), frame(strict.encode(message))) is reason
    a = dialer()
    a.receive(listener().start())
    assert refusal(a, frame(strict.encode(message))) is reason


def former_hello(name: str = "old", address: str | None = "10.0.0.9:7946") -> bytes:
    """The HELLO of a build of protocol 1."""
    said = {"name": name, "epoch": 7, "address": address, "software": "0.1.0"}
    return frame(strict.encode([1, 1, NETWORK, LISTENER, b"2" * 32, said]))


def test_a_build_of_protocol_1_is_named_and_told() -> None:
    with pytest.raises(
        HelloError, match="speaks protocol 1, this build speaks 2: upgrade it"
    ) as caught:
        dialer().receive(former_hello())
    assert caught.value.reason is HelloReason.VERSION
    assert caught.value.stranger == Stranger(Protocols(1, 1), "old", "10.0.0.9:7946", "0.1.0")
    assert caught.value.reply[4:] == encode_refusal(Protocols(2, 2))


def test_texts_out_of_bounds_in_a_former_hello_are_not_taken_over() -> None:
    with pytest.raises(HelloError) as caught:
        dialer().receive(former_hello(address="\x1b[2J:1"))
    assert caught.value.stranger == Stranger(Protocols(1, 1))


def test_additions_of_later_protocols_are_ignored() -> None:
    b = listener()
    later = {"compression": ["zstd", {"level": 3}], "flags": 7}
    assert b.receive(hello_frame((1, 5), (7, later)))


def test_a_downgrade_on_the_way_is_noticed() -> None:
    """Attack 27: both ends speak 2 and 3, and the HELLO that says so is changed to 2 alone."""
    for changes in ({"highest": 2}, {"lowest": 1}, {"lowest": 1, "highest": 2}):
        a, b = pair((2, 3), (2, 3))
        original = strict.decode(a.start()[4:], 5)
        assert isinstance(original, tuple)
        message = list(original)
        message[1] = changes.get("highest", message[1])
        message[2] = changes.get("lowest", message[2])
        b.receive(frame(strict.encode(message)))
        a_auth = a.receive(b.start())
        assert refusal(b, a_auth) is HelloReason.SIGNATURE, changes


def test_a_downgrade_of_both_hellos_is_noticed_at_both_ends() -> None:
    a, b = pair((2, 3), (2, 3))
    lowered = []
    for end in (a, b):
        message = strict.decode(end.start()[4:], 5)
        assert isinstance(message, tuple)
        lowered.append(frame(strict.encode([1, 2, *message[2:]])))
    a_auth, b_auth = a.receive(lowered[1]), b.receive(lowered[0])
    assert refusal(a, b_auth) is HelloReason.SIGNATURE
    assert refusal(b, a_auth) is HelloReason.SIGNATURE


def test_a_hello_of_another_protocol_sent_back_is_refused() -> None:
    """Attack 27: a reflection whose number was changed on the way."""
    a = dialer(hello=speaking(2, 3))
    message = strict.decode(a.start()[4:], 5)
    assert isinstance(message, tuple)
    assert refusal(a, frame(strict.encode([1, 2, *message[2:]]))) is HelloReason.SELF
