"""``mode: Recommend``: Spark's own executors beside those that the operator would have, for one life of a driver.

The executor pods of an ordinary driver are seen by the watch that sees ours. What runs is what the driver lists or has
pods for, whichever is more: a driver in client mode without ``spark.kubernetes.driver.pod.name`` owns no pods.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from spark_allocation.api.v1alpha1 import ExecutorHoursStatus, RecommendationStatus
from spark_allocation.core.allocation_step import Step
from spark_allocation.core.dynamic_allocation_conf import DynamicAllocationConf
from spark_allocation.core.executor_pods import PodState
from spark_allocation.core.recommendation import Comparison, ExecutorHours, would_have
from spark_allocation.core.resource_profiles import ProfileId
from spark_allocation.reports.status import timestamp
from spark_allocation.snapshots_store import SeenPod

DECIMALS = 3


class Recommending:
    """Compares, and goes on where an earlier run of the operator left its sums.

    Args:
        stored: ``status.recommendation`` of this same life of the driver; None at its beginning.
    """

    def __init__(self, stored: Mapping[str, Any] | None = None) -> None:
        hours = (stored or {}).get("executorHours") or {}
        self._hours = ExecutorHours(hours.get("spark", 0.0), hours.get("ours", 0.0))
        self._since = str((stored or {}).get("since") or timestamp())
        self._status = RecommendationStatus.model_validate(stored) if stored else None

    @property
    def status(self) -> RecommendationStatus | None:
        """What there is to say; None before the first look."""
        return self._status

    def take(
        self,
        step: Step,
        pods: Iterable[SeenPod],
        dynamic: DynamicAllocationConf,
        *,
        fresh: bool,
        now_ns: int,
    ) -> Step:
        """Compare once; returns the step with Spark's own executors in its profiles, and with what we would have as target.

        Args:
            step: that was decided and is not going to be carried out.
            pods: executor pods of the driver, whoever made them.
            fresh: the driver's last answer is recent.
            now_ns: monotonic nanoseconds.
        """
        waiting: Counter[ProfileId] = Counter()
        running: Counter[ProfileId] = Counter()
        for seen in pods:
            if seen.pod.deleting or seen.pod.state.is_final:
                continue
            there = running if seen.pod.state is PodState.RUNNING else waiting
            there[seen.pod.profile_id] += 1
        profiles = tuple(
            replace(
                profile,
                target=would_have(
                    profile,
                    would_leave=step.would_leave.get(profile.profile_id, 0),
                    most=dynamic.bounds(profile.profile_id).max_executors,
                ),
                running=max(profile.registered, running[profile.profile_id]),
                pending=max(
                    0,
                    waiting[profile.profile_id]
                    - max(0, profile.registered - running[profile.profile_id]),
                ),
            )
            for profile in step.profiles
        )
        if not fresh:
            self._hours.take(None, now_ns)
        else:
            known = {profile.profile_id for profile in profiles}
            of_others = sum(
                count for each, count in (running + waiting).items() if each not in known
            )
            comparison = Comparison(
                spark=sum(profile.running + profile.pending for profile in profiles) + of_others,
                ours=sum(profile.target for profile in profiles),
            )
            self._hours.take(comparison, now_ns)
            self._status = RecommendationStatus(
                since=self._since,
                spark_executors=comparison.spark,
                ours=comparison.ours,
                executor_hours=ExecutorHoursStatus(
                    spark=round(self._hours.spark, DECIMALS),
                    ours=round(self._hours.ours, DECIMALS),
                    saved=round(self._hours.saved, DECIMALS),
                ),
            )
        return replace(step, profiles=profiles)


def sentence(status: RecommendationStatus) -> str:
    """The comparison for people."""
    hours = status.executor_hours
    more = "saves" if hours.saved >= 0 else "adds"
    return (
        f"Spark has {status.spark_executors} executors, {status.ours} would do; since {status.since} that {more} "
        f"{abs(hours.saved):.2f} of {hours.spark:.2f} executor-hours"
    )
