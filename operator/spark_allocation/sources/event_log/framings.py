"""The streams in which Spark packs event logs (``spark.eventLog.compression.codec``), read piece by piece.

Theory of operation
-------------------
Which codec it is, the first bytes say; names may have been changed. Spark does not write the usual file formats of these
codecs but those of the Java libraries:

- *lz4*: ``LZ4BlockOutputStream`` of lz4-java: "LZ4Block", a token, packed size, size and checksum as little endian, the
  block. A block of size 0 ends a stream, and another may follow (``spark.eventLog`` flushes).
- *snappy*: ``SnappyOutputStream`` of xerial: a header of 16 bytes, then blocks with their size as big endian; a header may come again.
- *lzf*: chunks of compress-lzf: "ZV", a type, sizes of two bytes as big endian.
- *zstd*: ordinary frames, one after the other.
- *gzip* is none of Spark's, but what whoever puts logs away packs them with: members, one after the other.

A stream that is cut or damaged gives what was whole before the place, then `CutStream`. Checksums of LZ4 blocks are not
looked at: a damaged block nearly always fails to unpack, and what gets through fails as JSON.
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, BinaryIO

from spark_allocation.sources.event_log.blocks import (
    DamagedBlock,
    unpack_lz4,
    unpack_lzf,
    unpack_snappy,
)

PIECE = 1 << 20
MOST_BLOCK = 64 << 20
"""Larger blocks are taken for damage; Spark's have 32 KiB by default."""
_ZSTD_WINDOW = 128 << 20

_LZ4_MAGIC = b"LZ4Block"
_LZ4_HEADER = struct.Struct("<8sBiii")
_LZ4_RAW, _LZ4_PACKED = 0x10, 0x20
_SNAPPY_MAGIC = b"\x82SNAPPY\x00"
_SNAPPY_SIZE = struct.Struct(">i")
_LZF_MAGIC = b"ZV"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_GZIP_MAGIC = b"\x1f\x8b\x08"


class CutStream(ValueError):  # noqa: N818  (what the reader finds)
    """A packed stream ends too early or is damaged; what it gave before is good."""


class CodecMissing(RuntimeError):  # noqa: N818  (what the user lacks)
    """A codec needs a library that is not installed; the message says which."""


def unpacked(stream: BinaryIO) -> Iterator[bytes]:
    """The content of a log file, whatever it is packed with, in pieces of bounded size.

    Raises:
        CutStream: after the last whole piece.
        CodecMissing: when a library is needed.
    """
    head = _read(stream, len(_LZ4_MAGIC))
    for magic, reader in _READERS:
        if head.startswith(magic):
            yield from reader(_Pushed(head, stream))
            return
    if head:
        yield head
    while piece := stream.read(PIECE):
        yield piece


class _Pushed:
    """A stream with bytes put back before it."""

    def __init__(self, head: bytes, stream: BinaryIO) -> None:
        self._head = head
        self._stream = stream

    def read(self, count: int = -1) -> bytes:
        if not self._head:
            return self._stream.read(count)
        if count < 0:
            head, self._head = self._head, b""
            return head + self._stream.read()
        head, self._head = self._head[:count], self._head[count:]
        if len(head) < count:
            head += self._stream.read(count - len(head))
        return head


def _read(stream: "BinaryIO | _Pushed", count: int) -> bytes:
    """So many bytes, fewer only at the end."""
    data = stream.read(count)
    while len(data) < count:
        more = stream.read(count - len(data))
        if not more:
            break
        data += more
    return data


def _exactly(stream: _Pushed, count: int, what: str) -> bytes:
    if not 0 <= count <= MOST_BLOCK:
        raise CutStream(f"{what} of {count} bytes")
    data = _read(stream, count)
    if len(data) < count:
        raise CutStream(f"the stream ends within {what}")
    return data


def _lz4(stream: _Pushed) -> Iterator[bytes]:
    while header := _read(stream, _LZ4_HEADER.size):
        if len(header) < _LZ4_HEADER.size:
            raise CutStream("the stream ends within the header of an LZ4 block")
        magic, token, packed, size, _checksum = _LZ4_HEADER.unpack(header)
        if magic != _LZ4_MAGIC:
            raise CutStream("no LZ4 block where one should begin")
        block = _exactly(stream, packed, "an LZ4 block")
        if size == 0:
            continue
        if not 0 < size <= MOST_BLOCK:
            raise CutStream(f"an LZ4 block of {size} bytes")
        match token & 0xF0:
            case 0x10:
                yield block
            case 0x20:
                yield _whole(unpack_lz4, block, size)
            case method:
                raise CutStream(f"an LZ4 block of the unknown kind {method:#x}")


def _snappy(stream: _Pushed) -> Iterator[bytes]:
    while start := _read(stream, _SNAPPY_SIZE.size):
        if start == _SNAPPY_MAGIC[:4]:
            _exactly(stream, 12, "the header of a Snappy stream")
            continue
        if len(start) < _SNAPPY_SIZE.size:
            raise CutStream("the stream ends before a Snappy block")
        (size,) = _SNAPPY_SIZE.unpack(start)
        yield _whole(unpack_snappy, _exactly(stream, size, "a Snappy block"), MOST_BLOCK)


def _lzf(stream: _Pushed) -> Iterator[bytes]:
    gathered: list[bytes] = []
    count = 0
    while header := _read(stream, 5):
        if len(header) < 5 or header[:2] != _LZF_MAGIC or header[2] not in (0, 1):
            yield b"".join(gathered)
            raise CutStream("no LZF chunk where one should begin")
        length = int.from_bytes(header[3:5], "big")
        try:
            if header[2] == 0:
                piece = _exactly(stream, length, "an LZF chunk")
            else:
                size = int.from_bytes(_exactly(stream, 2, "the header of an LZF chunk"), "big")
                piece = _whole(unpack_lzf, _exactly(stream, length, "an LZF chunk"), size)
        except CutStream:
            yield b"".join(gathered)
            raise
        gathered.append(piece)
        count += len(piece)
        if count >= PIECE:
            yield b"".join(gathered)
            gathered, count = [], 0
    yield b"".join(gathered)


def _zstd(stream: _Pushed) -> Iterator[bytes]:
    try:
        zstandard: Any = import_module("zstandard")
    except ImportError:
        raise CodecMissing(
            "the log is packed with zstd; install the package zstandard "
            "(pip install zstandard), or unpack it first (zstd -d FILE)"
        ) from None
    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    reader = decompressor.stream_reader(stream, read_size=PIECE, read_across_frames=True)
    try:
        while piece := reader.read(PIECE):
            yield piece
    except zstandard.ZstdError as error:
        raise CutStream(f"zstd: {error}") from None


def _gzip(stream: _Pushed) -> Iterator[bytes]:
    packed = stream.read(PIECE)
    while packed:
        member = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        while not member.eof:
            try:
                piece = member.decompress(packed, PIECE)
            except zlib.error as error:
                raise CutStream(f"gzip: {error}") from None
            packed = member.unconsumed_tail
            if piece:
                yield piece
            elif not packed and not member.eof:
                packed = stream.read(PIECE)
                if not packed:
                    raise CutStream("the stream ends within a gzip member")
        packed = member.unused_data.lstrip(b"\0") or stream.read(PIECE)


_READERS: tuple[tuple[bytes, Callable[[_Pushed], Iterator[bytes]]], ...] = (
    (_LZ4_MAGIC, _lz4),
    (_SNAPPY_MAGIC, _snappy),
    (_ZSTD_MAGIC, _zstd),
    (_LZF_MAGIC, _lzf),
    (_GZIP_MAGIC, _gzip),
)


def _whole(unpack: Callable[[bytes, int], bytes], block: bytes, size: int) -> bytes:
    try:
        return unpack(block, size)
    except DamagedBlock as error:
        raise CutStream(str(error)) from None
