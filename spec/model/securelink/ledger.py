"""The trees of the ledger, its blocks and transactions (ledger.md, L5, L12, L20, L62, L70, L73, L75, L230)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from .cbor import Value, decode, encode
from .primitives import Refused, public_of, require, sha256, sign

EMPTY = b"SPARSE_MERKLE_PLACEHOLDER_HASH__"
DEPTH_MAX = 256
PROVED_MAX = 8

#: Key and power of each validator.
Validators = list[tuple[bytes, int]]


def leaf(data: bytes) -> bytes:
    """L5."""
    return sha256(b"\x00" + data)


def node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right)


def _split(count: int) -> int:
    """The largest power of two below the number of leaves."""
    return 1 << (count - 1).bit_length() - 1


def tree_root(leaves: list[bytes]) -> bytes:
    if len(leaves) < 2:
        return leaves[0] if leaves else sha256(b"")
    at = _split(len(leaves))
    return node(tree_root(leaves[:at]), tree_root(leaves[at:]))


def tree_path(leaves: list[bytes], index: int) -> list[bytes]:
    """Siblings from the leaf up."""
    if len(leaves) == 1:
        return []
    at = _split(len(leaves))
    if index < at:
        return [*tree_path(leaves[:at], index), tree_root(leaves[at:])]
    return [*tree_path(leaves[at:], index - at), tree_root(leaves[:at])]


def path_root(start: bytes, index: int, count: int, path: list[bytes]) -> bytes:
    """The root to which a path leads, by the definition of the tree: its shape follows from index and count."""
    require(index < count, "Malformed", "no such leaf")
    if count == 1:
        require(not path, "Malformed", "path too long")
        return start
    require(bool(path), "Malformed", "path too short")
    at = _split(count)
    if index < at:
        return node(path_root(start, index, at, path[:-1]), path[-1])
    return node(path[-1], path_root(start, index - at, count - at, path[:-1]))


def split32(data: Value) -> list[bytes]:
    """A path of L2."""
    require(isinstance(data, bytes) and len(data) % 32 == 0, "Malformed", "length of a path")
    assert isinstance(data, bytes)
    return [data[i : i + 32] for i in range(0, len(data), 32)]


def bit(path: bytes, n: int) -> int:
    return path[n // 8] >> (7 - n % 8) & 1


def state_leaf(path: bytes, value: bytes) -> bytes:
    """L62, of the hashes of key and value."""
    return sha256(b"JMT::LeafNode" + path + value)


def state_node(left: bytes, right: bytes) -> bytes:
    return sha256(b"JMT::IntrnalNode" + left + right)


def state_root(entries: dict[bytes, bytes]) -> bytes:
    """Of a state from hashes of keys to hashes of values."""
    return _subtree(sorted(entries.items()), 0)


def _subtree(entries: list[tuple[bytes, bytes]], depth: int) -> bytes:
    if len(entries) < 2:
        return state_leaf(*entries[0]) if entries else EMPTY
    sides = [[e for e in entries if bit(e[0], depth) == side] for side in (0, 1)]
    return state_node(*(_subtree(side, depth + 1) for side in sides))


def state_path(entries: dict[bytes, bytes], path: bytes) -> list[bytes]:
    """Siblings of an entry, from the leaf up."""
    out: list[bytes] = []
    near = sorted(entries.items())
    while len(near) > 1:
        depth = len(out)
        other = [e for e in near if bit(e[0], depth) != bit(path, depth)]
        near = [e for e in near if bit(e[0], depth) == bit(path, depth)]
        out.append(_subtree(other, depth + 1))
    return out[::-1]


@dataclass
class _Node:
    path: bytes
    depth: int
    hash: bytes


def _combine(nodes: list[_Node], sibling: Callable[[_Node], bytes]) -> bytes:
    """L230: level by level, from the deepest one up."""
    nodes = sorted(nodes, key=lambda n: n.path)
    for depth in range(max((n.depth for n in nodes), default=0), 0, -1):
        up: list[_Node] = []
        todo = list(nodes)
        while todo:
            one = todo.pop(0)
            if one.depth == depth:
                def above(n: _Node, depth: int = depth) -> str:
                    return format(int.from_bytes(n.path, "big"), "0256b")[: depth - 1]

                if todo and todo[0].depth == depth and above(todo[0]) == above(one):
                    other = todo.pop(0)
                    sides = bit(one.path, depth - 1), bit(other.path, depth - 1)
                    require(sides == (0, 1), "Malformed", "one object on the way of another")
                    one = _Node(one.path, depth - 1, state_node(one.hash, other.hash))
                else:
                    pair = (one.hash, sibling(one))
                    pair = pair[::-1] if bit(one.path, depth - 1) else pair
                    one = _Node(one.path, depth - 1, state_node(*pair))
            up.append(one)
        nodes = up
    require(len(nodes) == 1, "Malformed", "objects of no one tree")
    return nodes[0].hash


def prove(state: dict[bytes, bytes], keys: list[bytes]) -> Value:
    """The proof of L230 of what a state from keys to values holds under some keys."""
    entries = {sha256(key): sha256(value) for key, value in state.items()}
    paths = {sha256(key): state_path(entries, sha256(key)) for key in keys}
    all_: list[bytes] = []

    def take(one: _Node) -> bytes:
        path = paths[one.path]
        all_.append(path[len(path) - one.depth])
        return all_[-1]

    nodes = [_Node(p, len(siblings), state_leaf(p, entries[p])) for p, siblings in paths.items()]
    require(_combine(nodes, take) == state_root(entries), "Malformed", "the proof leads elsewhere")
    bits = "".join("0" if one == EMPTY else "1" for one in all_)
    bits += "0" * (-len(bits) % 8)
    places = bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))
    return [[len(siblings) for siblings in paths.values()], places, b"".join(one for one in all_ if one != EMPTY)]


def proved_root(proof: Value, held: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The root to which a proof of L230 leads from keys and values."""
    require(isinstance(proof, list) and len(proof) == 3, "Malformed", "proof")
    assert isinstance(proof, list)
    depths, places, siblings = proof
    pairs = [(sha256(key), sha256(value)) for key, value in held]
    require(isinstance(depths, list) and len(depths) == len(pairs) <= PROVED_MAX, "Malformed", "number of depths")
    require(isinstance(places, bytes), "Malformed", "places")
    assert isinstance(depths, list) and isinstance(places, bytes)
    given = split32(siblings)
    require(EMPTY not in given, "Malformed", "an empty subtree spelled out")
    bits = "".join(format(byte, "08b") for byte in places)
    used = 0

    def take(_: _Node) -> bytes:
        nonlocal used
        require(used < len(bits), "Malformed", "too few places")
        used += 1
        if bits[used - 1] == "0":
            return EMPTY
        require(bool(given), "Malformed", "too few siblings")
        return given.pop(0)

    nodes = []
    for (path, value), depth in zip(pairs, depths, strict=True):
        require(isinstance(depth, int) and 0 <= depth <= DEPTH_MAX, "Malformed", "depth")
        assert isinstance(depth, int)
        nodes.append(_Node(path, depth, state_leaf(path, value)))
    root = _combine(nodes, take)
    tail = bits[used:]
    require(not given and len(tail) < 8 and "1" not in tail, "Malformed", "siblings or places left over")
    return root


def validator_key(seed: bytes) -> bytes:
    """The Ed25519 key of a seed (L4)."""
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def validator_sign(seed: bytes, message: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(seed).sign(message)


def certified(message: bytes, signatures: list[tuple[bytes, bytes]], validators: Validators) -> None:
    """L73: more than two thirds of the power signed, each signer once."""
    powers = dict(validators)
    seen: set[bytes] = set()
    for key, signature in signatures:
        require(key in powers, "NotAuthentic", "signed by no validator")
        require(key not in seen, "NotAuthentic", "a validator twice")
        seen.add(key)
        try:
            Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
        except (InvalidSignature, ValueError):
            raise Refused("NotAuthentic", "signature of a validator") from None
    power = sum(powers[key] for key in seen)
    require(power * 3 > sum(powers.values()) * 2, "NotAuthentic", "two thirds of the power or less")


def block_message(header_bytes: bytes) -> bytes:
    return b"modbatt1 block" + sha256(header_bytes)


def header(
    chain: bytes,
    height: int,
    time_ms: int,
    proposer: bytes,
    parent: bytes,
    state: bytes,
    transactions: bytes,
    results: bytes,
    count: int,
) -> bytes:
    """L70."""
    fields: list[Value] = [1, chain, height, time_ms, proposer, parent, state, transactions, results, count]
    return encode(dict(enumerate(fields)))


def unsigned(chain: bytes, signer: bytes, nonce: int, expiry: int, content: Value) -> bytes:
    """L20."""
    return encode({0: 1, 1: chain, 2: signer, 3: nonce, 4: expiry, 5: content})


def transaction(first: bytes, signature: bytes) -> bytes:
    return encode({0: 1, 1: first, 2: signature})


def signed_transaction(chain: bytes, scalar: bytes, nonce: int, expiry: int, body: bytes) -> tuple[Value, bytes]:
    """Item 1 of a receipt and the transaction that it stands for."""
    content = decode(body)
    first = unsigned(chain, public_of(scalar), nonce, expiry, content)
    signature = sign(scalar, b"modbatt1 tx" + first)
    return [public_of(scalar), nonce, expiry, content, signature], transaction(first, signature)


def result(rejection: int, events: list[Value]) -> Value:
    """L75."""
    return {0: 1, 1: rejection, 2: events}


def batch_result(statement: dict[int, Value]) -> Value:
    """The result of an accepted batch (L41): one event, whose attributes are those of the statement."""
    cid, first, count, root = (statement[key] for key in (1, 2, 3, 4))
    attributes: list[Value] = [["cid", 1, cid], ["first_seq", 0, first], ["count", 0, count], ["root", 1, root]]
    return result(0, [["TelemetryBatchRecorded", attributes]])
