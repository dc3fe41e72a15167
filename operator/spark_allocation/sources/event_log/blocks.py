"""LZ4, Snappy and LZF blocks unpacked without a library of native code.

Event logs repeat themselves so much that a block is few long copies, which Python does fast enough. Each function takes
one block and gives its bytes.

Formats: LZ4 block format; Snappy format description (raw); LZF as in liblzf and compress-lzf.
"""


class DamagedBlock(ValueError):  # noqa: N818  (what the reader finds)
    """Bytes that are no block of this kind, or not a whole one."""


def unpack_lz4(block: bytes, size: int) -> bytes:
    """One LZ4 block.

    Args:
        block: the packed bytes.
        size: of the content, in bytes.

    Raises:
        DamagedBlock: when it is none, or not of this size.
    """
    out, at, end = bytearray(), 0, len(block)
    try:
        while at < end:
            token = block[at]
            at += 1
            length = token >> 4
            if length == 15:
                length, at = _more_lz4(block, at, length)
            if length:
                out += block[at : at + length]
                at += length
            if at >= end:
                break
            offset = block[at] | block[at + 1] << 8
            at += 2
            length = token & 15
            if length == 15:
                length, at = _more_lz4(block, at, length)
            _copy(out, offset, length + 4)
    except IndexError:
        raise DamagedBlock("an LZ4 block ends too early") from None
    return _whole(out, size)


def unpack_snappy(block: bytes, most: int) -> bytes:
    """One raw Snappy block.

    Args:
        block: the packed bytes.
        most: bytes that the content may have.

    Raises:
        DamagedBlock: when it is none, or larger.
    """
    try:
        size, at = _varint(block)
        if size > most:
            raise DamagedBlock(f"a Snappy block of {size} bytes")
        out, end = bytearray(), len(block)
        while at < end:
            tag = block[at]
            at += 1
            kind = tag & 3
            if kind == 0:
                length = tag >> 2
                if length >= 60:
                    width = length - 59
                    length = int.from_bytes(block[at : at + width], "little")
                    at += width
                out += block[at : at + length + 1]
                at += length + 1
                continue
            if kind == 1:
                length, offset = 4 + (tag >> 2 & 7), (tag >> 5) << 8 | block[at]
                at += 1
            else:
                width = 2 if kind == 2 else 4
                length, offset = (tag >> 2) + 1, int.from_bytes(block[at : at + width], "little")
                at += width
            _copy(out, offset, length)
    except IndexError:
        raise DamagedBlock("a Snappy block ends too early") from None
    return _whole(out, size)


def unpack_lzf(block: bytes, size: int) -> bytes:
    """One LZF block.

    Args:
        block: the packed bytes.
        size: of the content, in bytes.

    Raises:
        DamagedBlock: when it is none, or not of this size.
    """
    out, at, end = bytearray(), 0, len(block)
    try:
        while at < end:
            control = block[at]
            at += 1
            if control < 32:
                out += block[at : at + control + 1]
                at += control + 1
                continue
            length = control >> 5
            if length == 7:
                length += block[at]
                at += 1
            offset = ((control & 31) << 8 | block[at]) + 1
            at += 1
            _copy(out, offset, length + 2)
    except IndexError:
        raise DamagedBlock("an LZF block ends too early") from None
    return _whole(out, size)


def _copy(out: bytearray, offset: int, length: int) -> None:
    start = len(out) - offset
    if offset <= 0 or start < 0:
        raise DamagedBlock("a block refers to bytes before its beginning")
    if offset >= length:
        out += out[start : start + length]
    else:
        pattern = bytes(out[start:])
        out += (pattern * (length // offset + 1))[:length]


def _more_lz4(block: bytes, at: int, length: int) -> tuple[int, int]:
    while True:
        more = block[at]
        at += 1
        length += more
        if more != 255:
            return length, at


def _varint(block: bytes) -> tuple[int, int]:
    value = shift = at = 0
    while True:
        byte = block[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
        if shift > 35:
            raise DamagedBlock("a Snappy block has no size")


def _whole(out: bytearray, size: int) -> bytes:
    if len(out) != size:
        raise DamagedBlock(f"a block of {len(out)} bytes where {size} are announced")
    return bytes(out)
