"""Deterministic CBOR (RFC 8949 section 4.2) of the kinds that the link uses: whole numbers, byte strings, text,
lists, maps with whole-number keys. Whatever could be written in another way is refused, not repaired."""

from __future__ import annotations

from .primitives import Refused, require

Value = int | bytes | str | list["Value"] | dict[int, "Value"]

DEPTH_MAX = 8


def _head(major: int, value: int) -> bytes:
    if value < 24:
        return bytes([major << 5 | value])
    for code, length in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if value < 1 << (8 * length):
            return bytes([major << 5 | code]) + value.to_bytes(length, "big")
    raise Refused("Malformed", "number too large for CBOR")


def encode(value: Value) -> bytes:
    if isinstance(value, bool):
        raise TypeError("the link has no booleans")
    if isinstance(value, int):
        return _head(0, value) if value >= 0 else _head(1, -1 - value)
    if isinstance(value, bytes):
        return _head(2, len(value)) + value
    if isinstance(value, str):
        text = value.encode("utf-8")
        return _head(3, len(text)) + text
    if isinstance(value, list):
        return _head(4, len(value)) + b"".join(encode(item) for item in value)
    pairs = sorted((encode(key), encode(item)) for key, item in value.items())
    return _head(5, len(pairs)) + b"".join(key + item for key, item in pairs)


def decode(data: bytes) -> Value:
    value, rest = _item(data, 0)
    require(not rest, "Malformed", "bytes after the CBOR item")
    return value


def _number(data: bytes) -> tuple[int, int, bytes]:
    require(bool(data), "Malformed", "CBOR ends early")
    major, code, rest = data[0] >> 5, data[0] & 31, data[1:]
    if code < 24:
        return major, code, rest
    require(code < 28, "Malformed", "indefinite or reserved length")
    length = 1 << (code - 24)
    require(len(rest) >= length, "Malformed", "CBOR ends early")
    value = int.from_bytes(rest[:length], "big")
    shortest = 24 if length == 1 else 1 << (4 * length)
    require(value >= shortest, "Malformed", "number not in its shortest form")
    return major, value, rest[length:]


def _item(data: bytes, depth: int) -> tuple[Value, bytes]:
    require(depth <= DEPTH_MAX, "Malformed", "CBOR too deep")
    major, value, rest = _number(data)
    if major == 0:
        return value, rest
    if major == 1:
        return -1 - value, rest
    if major in (2, 3):
        require(len(rest) >= value, "Malformed", "CBOR ends early")
        if major == 2:
            return rest[:value], rest[value:]
        try:
            return rest[:value].decode("utf-8"), rest[value:]
        except UnicodeDecodeError:
            raise Refused("Malformed", "text is not UTF-8") from None
    if major == 4:
        items: list[Value] = []
        for _ in range(value):
            item, rest = _item(rest, depth + 1)
            items.append(item)
        return items, rest
    require(major == 5, "Malformed", "tags, floats and simple values have no use here")
    return _map(value, rest, depth)


def _map(count: int, rest: bytes, depth: int) -> tuple[Value, bytes]:
    pairs: dict[int, Value] = {}
    before = -1
    for _ in range(count):
        key, rest = _item(rest, depth + 1)
        require(isinstance(key, int) and key >= 0, "Malformed", "key of a map")
        assert isinstance(key, int)
        require(key > before, "Malformed", "keys not ascending, or one twice")
        before = key
        pairs[key], rest = _item(rest, depth + 1)
    return pairs, rest
