"""Checkpoints, what leads from one to another, and witnesses (ledger.md, L170 to L173)."""

from __future__ import annotations

from .cbor import Value, decode, encode
from .ledger import path_root, split32, tree_path, tree_root, validator_key, validator_sign
from .primitives import public_of, require, sha256, sign

#: Validators by their seeds of Ed25519.
Seeds = list[bytes]


def validator_set(seeds: Seeds) -> Value:
    """L11; each has power 1."""
    return {0: 1, 1: [[validator_key(seed), 1] for seed in seeds]}


def statement(chain: bytes, blocks: list[bytes], state_root: bytes, seeds: Seeds) -> bytes:
    """L171, of the last of the blocks: `blocks` are the leaves of L170."""
    height, block = len(blocks), blocks[-1]
    leaves = [sha256(b"\x00" + block) for block in blocks]
    fields: list[Value] = [1, chain, height, block, state_root, tree_root(leaves), sha256(encode(validator_set(seeds)))]
    return encode(dict(enumerate(fields)))


def checkpoint(said: bytes, seeds: Seeds, signers: Seeds, witnesses: list[bytes]) -> bytes:
    """The file; witnesses are scalars of P-256."""
    message = b"modbatt1 checkpoint" + sha256(said)
    signatures: list[Value] = [[validator_key(seed), validator_sign(seed, message)] for seed in signers]
    seen: list[Value] = [[public_of(s), sign(s, b"modbatt1 cosign" + said)] for s in witnesses]
    parts: Value = {0: 1, 1: said, 2: validator_set(seeds), 3: {0: 1, 1: signatures}, 4: seen}
    return b"MBCP\x01" + encode(parts)


def consistency(leaves: list[bytes], old: int, whole: bool = True) -> list[bytes]:
    """SUBPROOF of RFC 9162, 2.1.4.1: that the tree of the first `old` leaves is the beginning of that of all."""
    if old == len(leaves):
        return [] if whole else [tree_root(leaves)]
    at = 1 << (len(leaves) - 1).bit_length() - 1
    if old <= at:
        return [*consistency(leaves[:at], old, whole), tree_root(leaves[at:])]
    return [*consistency(leaves[at:], old - at, False), tree_root(leaves[:at])]


def succession(blocks: list[bytes], old: int, handovers: list[Value]) -> bytes:
    """L172."""
    leaves = [sha256(b"\x00" + block) for block in blocks]
    return b"MBCS\x01" + encode({0: 1, 1: b"".join(consistency(leaves, old)), 2: handovers})


def inclusion(blocks: list[bytes], height: int) -> bytes:
    """L223: that the tree of `blocks` holds the block of `height`."""
    leaves = [sha256(b"\x00" + block) for block in blocks]
    return b"MBCI\x01" + encode({0: 1, 1: len(blocks), 2: b"".join(tree_path(leaves, height - 1))})


def check_inclusion(file: bytes, said: bytes, height: int, block: bytes) -> None:
    """L223, against the statement of a checkpoint that is trusted."""
    require(file[:5] == b"MBCI\x01", "Malformed", "magic or version")
    parts, statement_ = decode(file[5:]), decode(said)
    assert isinstance(statement_, dict)
    require(isinstance(parts, dict) and list(parts) == [0, 1, 2] and parts[0] == 1, "Malformed", "inclusion")
    assert isinstance(parts, dict)
    size, root = statement_[2], statement_[5]
    require(parts[1] == size and isinstance(size, int) and 0 < height <= size, "NotInHistory", "height")
    assert isinstance(size, int)
    found = path_root(sha256(b"\x00" + block), height - 1, size, split32(parts[2]))
    require(found == root, "NotInHistory", "another history")
