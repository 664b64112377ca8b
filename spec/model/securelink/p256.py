"""Points of P-256 as numbers: what SPAKE2+ needs beyond ECDH and ECDSA. Affine, plain, slow."""

from __future__ import annotations

from .primitives import ORDER, public_key, uncompressed

PRIME = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
GENERATOR_X = 0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296
GENERATOR_Y = 0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5

#: None is the identity.
Point = tuple[int, int] | None

GENERATOR: Point = (GENERATOR_X, GENERATOR_Y)


def decode(data: bytes) -> Point:
    """A point from 33 or 65 bytes; refused unless it is on the curve. The identity has no encoding here."""
    whole = uncompressed(public_key(data))
    return int.from_bytes(whole[1:33], "big"), int.from_bytes(whole[33:], "big")


def encode(point: Point) -> bytes:
    """65 bytes, uncompressed."""
    if point is None:
        raise ValueError("the identity has no encoding")
    return b"\x04" + point[0].to_bytes(32, "big") + point[1].to_bytes(32, "big")


def add(left: Point, right: Point) -> Point:
    if left is None:
        return right
    if right is None:
        return left
    if left[0] == right[0]:
        if (left[1] + right[1]) % PRIME == 0:
            return None
        slope = (3 * left[0] * left[0] - 3) * pow(2 * left[1], -1, PRIME) % PRIME
    else:
        slope = (right[1] - left[1]) * pow(right[0] - left[0], -1, PRIME) % PRIME
    x = (slope * slope - left[0] - right[0]) % PRIME
    return x, (slope * (left[0] - x) - left[1]) % PRIME


def negate(point: Point) -> Point:
    return None if point is None else (point[0], PRIME - point[1])


def multiply(scalar: int, point: Point) -> Point:
    result: Point = None
    scalar %= ORDER
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point = add(point, point)
        scalar >>= 1
    return result
