"""Names and addresses of local clusters: derived, disjoint, remembered."""

import json
from ipaddress import IPv4Address, IPv4Network
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.cluster import layout
from tests.cluster.layout import (
    DEFAULT_NAME,
    SERVICE_ADDRESS,
    SERVICE_NETWORK,
    ClusterLayout,
    layout_of,
)
from tests.machine.errors import ClusterError

indices = st.integers(0, 63)


@pytest.fixture
def clusters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(layout, "CLUSTERS", tmp_path)
    return tmp_path


def bring_into_being(clusters: Path, name: str, index: int) -> None:
    (clusters / name).mkdir()
    (clusters / name / "cluster.json").write_text(json.dumps({"name": name, "index": index}))


@given(st.lists(indices, min_size=2, max_size=6, unique=True))
def test_no_two_clusters_share_an_address_or_an_interface(chosen: list[int]) -> None:
    layouts = [ClusterLayout(f"c{index}", index) for index in chosen]
    networks = [IPv4Network(SERVICE_NETWORK)]
    for each in layouts:
        networks += [IPv4Network(each.node_network), IPv4Network(each.pod_network)]
    assert not any(a.overlaps(b) for a, b in combinations(networks, 2))
    assert len({each.host_link for each in layouts}) == len(layouts)


@given(indices)
def test_addresses_lie_in_their_networks_and_names_fit_the_kernel(index: int) -> None:
    cluster = ClusterLayout("c", index)
    assert IPv4Address(cluster.node_address) in IPv4Network(cluster.node_network)
    assert IPv4Address(cluster.host_address) in IPv4Network(cluster.node_network)
    assert IPv4Address(SERVICE_ADDRESS) in IPv4Network(SERVICE_NETWORK)
    assert len(cluster.host_link) <= 15


@given(st.from_regex(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?", fullmatch=True))
def test_every_allowed_name_leaves_room_for_the_socket_path(name: str) -> None:
    """The kernel takes 107 bytes; containerd appends `.ttrpc` for its second socket."""
    assert len(f"{ClusterLayout(name, 1).containerd_socket}.ttrpc") <= 107


@pytest.mark.parametrize("name", ["", "Upper", "a/b", "..", "-a", "a-", "a" * 41, "a b", "a\n"])
def test_a_name_that_could_leave_its_folder_is_refused(name: str) -> None:
    with pytest.raises(ClusterError, match="cannot name a cluster"):
        layout_of(name)


def test_the_default_cluster_always_has_index_0(clusters: Path) -> None:
    assert layout_of(DEFAULT_NAME).index == 0


def test_another_cluster_never_gets_the_default_clusters_networks(clusters: Path) -> None:
    assert layout_of("other").index != 0


def test_a_cluster_that_exists_keeps_its_index(clusters: Path) -> None:
    wanted = layout_of("other").index
    bring_into_being(clusters, "squatter", wanted)
    moved = layout_of("other").index
    assert moved != wanted
    bring_into_being(clusters, "other", moved)
    assert layout_of("other").index == moved


def test_when_all_networks_are_taken_the_remedy_is_named(clusters: Path) -> None:
    for index in range(1, 64):
        bring_into_being(clusters, f"c{index}", index)
    with pytest.raises(ClusterError, match="down --name"):
        layout_of("one-too-many")
