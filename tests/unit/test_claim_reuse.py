"""Persistent volume claims that ended executors left behind."""

from spark_allocation.core.claim_reuse import PersistentVolumeClaim, ReusableClaims

NOW = 1_000_000


def claim(
    name: str, age_ms: int = 700_000, storage_class: str | None = "gp", storage: str = "1Gi"
) -> PersistentVolumeClaim:
    return PersistentVolumeClaim(name, storage_class, storage, NOW - age_ms)


def free(*claims: PersistentVolumeClaim, in_use: frozenset[str] = frozenset()) -> ReusableClaims:
    return ReusableClaims.among(claims, in_use=in_use, minimum_age_ms=600_000, now=NOW)


def test_only_claims_older_than_the_creation_timeout_are_free():
    assert len(free(claim("old", 600_001), claim("young", 600_000))) == 1


def test_a_claim_that_a_pod_mounts_is_not_free():
    assert len(free(claim("mounted"), in_use=frozenset({"mounted"}))) == 0


def test_a_claim_is_taken_once_and_in_the_order_of_the_list():
    claims = free(claim("first"), claim("second"))
    assert [claims.take("gp", "1Gi") for _ in range(3)] == ["first", "second", None]


def test_class_and_size_must_be_the_same():
    claims = free(claim("other class", storage_class="fast"), claim("larger", storage="2Gi"))
    assert claims.take("gp", "1Gi") is None
    assert claims.take(None, "2Gi") is None
    assert claims.take("gp", "2Gi") == "larger"


def test_sizes_are_compared_as_amounts_not_as_texts():
    assert free(claim("a", storage="1024Mi")).take("gp", "1Gi") == "a"


def test_a_size_that_nobody_can_read_is_compared_as_text():
    assert free(claim("a", storage="huge")).take("gp", "huge") == "a"
