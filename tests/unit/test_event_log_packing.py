"""Event logs in the packings of Spark. The samples were written by the Java libraries that Spark 4.1 uses."""

import contextlib
import gzip
import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from spark_allocation.sources.event_log import framings
from spark_allocation.sources.event_log.blocks import (
    DamagedBlock,
    unpack_lz4,
    unpack_lzf,
    unpack_snappy,
)
from spark_allocation.sources.event_log.framings import CodecMissing, CutStream, unpacked

SAMPLES = Path(__file__).parent / "event_log_samples"
CONTENT_SHA256 = "69d36835c0593332e883651ca9813721e3027681fed90635c8671983ae31cac4"
CONTENT_BYTES = 63394
PURE = ["lz4", "snappy", "lzf", "gzip"]
"""Those that need no library; gzip is not Spark's, but that of whoever puts logs away."""


def content(packed: bytes) -> tuple[bytes, str]:
    """What can be unpacked, and why it ends too early, if it does."""
    found = b""
    try:
        for piece in unpacked(io.BytesIO(packed)):
            found += piece
    except CutStream as cut:
        return found, str(cut)
    return found, ""


def sample(codec: str) -> bytes:
    if codec == "zstd":
        pytest.importorskip("zstandard")
    if codec == "gzip":
        return gzip.compress(content((SAMPLES / "nightly.lz4").read_bytes())[0], mtime=0)
    return (SAMPLES / f"nightly.{codec}").read_bytes()


@pytest.mark.parametrize("codec", [*PURE, "zstd"])
def test_what_spark_s_libraries_packed_is_unpacked_whole(codec: str) -> None:
    found, why = content(sample(codec))
    assert (hashlib.sha256(found).hexdigest(), why) == (CONTENT_SHA256, "")


@pytest.mark.parametrize("codec", [*PURE, "zstd"])
def test_streams_one_after_the_other_are_one(codec: str) -> None:
    """Spark ends a stream at each flush and begins another in the same file."""
    found, why = content(sample(codec) * 2)
    assert (len(found), why) == (2 * CONTENT_BYTES, "")


@pytest.mark.parametrize("codec", PURE)
def test_of_a_cut_stream_what_was_whole_is_there(codec: str) -> None:
    packed = sample(codec)
    whole, _ = content(packed)
    for kept in range(0, len(packed), 97):
        found, _ = content(packed[:kept])
        assert whole.startswith(found)


@pytest.mark.parametrize("codec", PURE)
def test_a_cut_within_a_block_is_told(codec: str) -> None:
    _, why = content(sample(codec)[:-200])
    assert why


@pytest.mark.parametrize("codec", PURE)
@hypothesis_settings(max_examples=60, deadline=None)
@given(place=st.integers(0, 5000), byte=st.integers(0, 255))
def test_no_damage_makes_another_error(codec: str, place: int, byte: int) -> None:
    packed = bytearray(sample(codec))
    packed[place % len(packed)] = byte
    content(bytes(packed))


@pytest.mark.parametrize(
    ("unpack", "size"), [(unpack_lz4, 100), (unpack_lzf, 100), (unpack_snappy, 1 << 20)]
)
@hypothesis_settings(max_examples=100, deadline=None)
@given(block=st.binary(max_size=60))
def test_no_bytes_make_another_error_than_damage(unpack, size: int, block: bytes) -> None:
    with contextlib.suppress(DamagedBlock):
        unpack(block, size)


def test_sizes_beyond_all_blocks_are_damage_and_not_allocated() -> None:
    packed = bytearray(sample("lz4"))
    packed[9:13] = (2**31 - 1).to_bytes(4, "little")
    assert content(bytes(packed)) == (b"", "an LZ4 block of 2147483647 bytes")


def test_a_log_that_is_not_packed_passes_through() -> None:
    assert content(b'{"Event":"x"}\n') == (b'{"Event":"x"}\n', "")
    assert content(b"") == (b"", "")


def test_without_its_library_zstd_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Iterator[bytes]:
        raise ImportError(name)

    monkeypatch.setattr(framings, "import_module", missing)
    with pytest.raises(CodecMissing, match="pip install zstandard"):
        list(unpacked(io.BytesIO((SAMPLES / "nightly.zstd").read_bytes())))
