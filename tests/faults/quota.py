"""A real ResourceQuota that leaves no room for more pods than one."""

from tests.integration.operator_world import OperatorWorld

NAME = "filled-by-a-fault"
ROOM = 1


async def fill_quota(world: OperatorWorld) -> None:
    """From now on the API server refuses every pod of this namespace but one."""
    listed = (await world.insist("GET", world.pods_path)).json()
    there = sum(
        pod.get("status", {}).get("phase") not in ("Failed", "Succeeded") for pod in listed["items"]
    )
    quota = {"metadata": {"name": NAME}, "spec": {"hard": {"pods": str(there + ROOM)}}}
    await world.insist("POST", _path(world), quota)


async def lift_quota(world: OperatorWorld) -> None:
    """There is room again; also when there was no quota."""
    await world.insist("DELETE", f"{_path(world)}/{NAME}")


def _path(world: OperatorWorld) -> str:
    return f"/api/v1/namespaces/{world.namespace}/resourcequotas"
