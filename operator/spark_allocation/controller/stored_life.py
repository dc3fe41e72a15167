"""What a status says of the life that was served last: where the next one goes on if it is the same.

A restart of the operator, and a spec that sends the runner the way to the driver anew, begin a life that was there
before. Its targets are taken over, its recommendation goes on, and what it left belongs to it.
"""

from collections.abc import Mapping
from typing import Any

from spark_allocation.api.v1alpha1 import RecommendationStatus
from spark_allocation.core.resource_profiles import ProfileId
from spark_allocation.core.streaming.batch_cost import LearnedCost
from spark_allocation.core.streaming.observations import QueryName
from spark_allocation.reports.streams import restored


class StoredLife:
    """Of one SparkAllocation.

    Args:
        status: as read, in which everything has the form that the operator writes.
    """

    def __init__(self, status: Mapping[str, Any]) -> None:
        self.driver_uid = str(status.get("driverPodUid") or "")
        """Of the driver pod that was served; "" when there was none."""
        self.application_id = str(status.get("applicationId") or "")
        self._incarnation = status.get("incarnation")
        self._recommendation: Mapping[str, Any] | None = status.get("recommendation")
        self.learned_streams = restored(status.get("streaming") or ())
        """What batches of streaming queries were found to cost, in this life or an earlier one."""
        self._targets = {
            ProfileId(profile["id"]): profile["target"]
            for profile in status.get("profiles") or ()
            if isinstance(profile.get("target"), int)
        }

    @property
    def began(self) -> bool:
        """Some life was served."""
        return bool(self._incarnation)

    def is_same(self, incarnation: str) -> bool:
        """Whether this is the life that was served."""
        return self._incarnation == incarnation

    def targets(self, incarnation: str) -> dict[ProfileId, int] | None:
        """Where its targets stood; None in another life."""
        return self._targets if self.is_same(incarnation) else None

    def recommendation(self, incarnation: str) -> Mapping[str, Any] | None:
        """``status.recommendation`` as it stood; None in another life."""
        return self._recommendation if self.is_same(incarnation) else None

    def ended(
        self,
        incarnation: str,
        targets: Mapping[ProfileId, int],
        recommendation: RecommendationStatus | None,
        learned_streams: Mapping[QueryName, LearnedCost],
    ) -> None:
        """This life is not served any longer, or not in this way."""
        self._incarnation = incarnation
        self.learned_streams = dict(learned_streams)
        self._targets = dict(targets)
        if recommendation is not None:
            self._recommendation = recommendation.model_dump(mode="json", by_alias=True)

    def forget_driver(self) -> None:
        """What was served was another wish: its end is not the end of this one."""
        self.driver_uid = ""
