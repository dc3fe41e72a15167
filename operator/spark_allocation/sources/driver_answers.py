"""What Spark's REST API and gauges say, read into core values.

It is a tenant's input: what is no JSON of Spark's becomes a `NoAnswer`, and every number and text is bounded.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from typing import Annotated, Any, TypeVar

import msgspec
from yarl import URL

from spark_allocation.api.conditions import Reason
from spark_allocation.core.driver_report import (
    Application,
    DriverReport,
    Environment,
    ExecutorReport,
    StageReport,
)
from spark_allocation.core.executor_pods import ExecutorId
from spark_allocation.core.resource_profiles import (
    ExecutorResourceRequest,
    ProfileId,
    ResourceProfile,
    TaskResourceRequest,
)
from spark_allocation.core.streaming_report import StreamingReport
from spark_allocation.sources.shared_texts import shared
from spark_allocation.sources.streaming_gauges import STREAMS, Job, read_streaming, streaming_job
from spark_allocation.sources.unreachable import LONGEST_QUOTE, NoAnswer
from spark_allocation.sources.wire import whole_number

MOST_ITEMS = 20_000
"""Of a list; more are no driver but an attack, and cost seconds to look at."""
LONGEST_TEXT = 253
"""Of what is named after an answer, such as an application id."""
LONGEST_REASON = 1024
MOST_ACTIVE_STAGES = 10_000
"""More are no workload but an attack."""
MAX_NEEDED_GAUGE = ".driver.ExecutorAllocationManager.executors.numberMaxNeededExecutors"
EVENTS_BEHIND_GAUGE = ".driver.LiveListenerBus.queue.appStatus.size"
"""Of the queue through which the driver tells its REST API of tasks (``AsyncEventQueue``)."""

T = TypeVar("T")

_MOMENT = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{1,6})GMT")
LONGEST_MOMENT = 29
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_Int = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
_Id = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
_Long = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class _Attempt(msgspec.Struct, rename="camel", gc=False):
    start_time_epoch: _Long = 0
    completed: bool = False
    spark_user: str = ""
    app_spark_version: str = ""


class ApplicationAnswer(msgspec.Struct, gc=False):
    """One of ``/applications``."""

    id: str
    name: str = ""
    attempts: list[_Attempt] = msgspec.field(default_factory=list)


class StageAnswer(msgspec.Struct, rename="camel", gc=False):
    """One of ``/stages``."""

    stage_id: _Int
    attempt_id: _Int
    num_tasks: int = 0
    num_completed_indices: int = 0
    num_active_tasks: int = 0
    shuffle_write_bytes: int = 0
    resource_profile_id: _Id = 0
    submission_time: str | None = None


class ExecutorAnswer(msgspec.Struct, rename="camel", gc=False):
    """One of ``/executors`` or ``/allexecutors``."""

    id: str
    is_active: bool = True
    active_tasks: int = 0
    max_tasks: int = 0
    total_tasks: int = 0
    failed_tasks: int = 0
    rdd_blocks: int = 0
    memory_used: int = 0
    disk_used: int = 0
    total_shuffle_write: int = 0
    resource_profile_id: _Id = 0
    add_time: str | None = None
    remove_reason: str | None = None


class _ResourceAmount(msgspec.Struct, rename="camel", gc=False):
    resource_name: str
    amount: float = 0
    discovery_script: str | None = None
    vendor: str | None = None


class _Profile(msgspec.Struct, rename="camel", gc=False):
    id: _Id
    executor_resources: dict[str, _ResourceAmount] = msgspec.field(default_factory=dict)
    task_resources: dict[str, _ResourceAmount] = msgspec.field(default_factory=dict)


class EnvironmentAnswer(msgspec.Struct, rename="camel", gc=False):
    """``/environment``."""

    spark_properties: list[tuple[str, str]]
    resource_profiles: list[_Profile] = msgspec.field(default_factory=list)


class _Gauge(msgspec.Struct, gc=False):
    value: Any = None


class MetricsAnswer(msgspec.Struct, gc=False):
    """``/metrics/json/``."""

    gauges: dict[str, _Gauge] = msgspec.field(default_factory=dict)


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    """Of one of a few kinds: what a kind looks like is worked out once."""
    return msgspec.json.Decoder(kind)


def decoded(url: str | URL, body: bytearray, kind: type[T]) -> T:
    """An answer of this kind.

    Args:
        url: that gave it, for the message.

    Raises:
        NoAnswer: it is none.
    """
    try:
        wanted: Any = kind  # mypy takes no class for hashable
        answer: T = _decoder(wanted).decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        words = str(error)[:LONGEST_QUOTE]
        raise NoAnswer(
            Reason.BAD_ANSWER, f"{url} answered something that is not Spark's JSON: {words}"
        ) from error
    if isinstance(answer, list) and len(answer) > MOST_ITEMS:
        raise NoAnswer(
            Reason.BAD_ANSWER, f"{url} answered a list of {len(answer)}, which no driver has"
        )
    return answer


def applications(base: str, answer: Sequence[ApplicationAnswer]) -> list[Application]:
    """What a driver serves, in its newest attempt.

    Args:
        base: address of the driver, for the message.

    Raises:
        NoAnswer: nothing, or what no driver would name so.
    """
    if not answer or not answer[0].attempts:
        raise NoAnswer(Reason.BAD_ANSWER, f"{base} lists no application")
    absurd = next((item for item in answer if not _is_named(item.id)), None)
    if absurd is not None:
        raise NoAnswer(
            Reason.BAD_ANSWER, f"{base} names an application {absurd.id[:40]!r}, which is no id"
        )
    return [
        Application(
            id=item.id,
            name=item.name[:LONGEST_TEXT],
            started_at_ms=item.attempts[0].start_time_epoch,
            completed=item.attempts[0].completed,
            spark_version=item.attempts[0].app_spark_version[:LONGEST_TEXT],
            spark_user=item.attempts[0].spark_user[:LONGEST_TEXT],
        )
        for item in answer
        if item.attempts
    ]


def driver_report(
    stages: Sequence[StageAnswer],
    executors: Sequence[ExecutorAnswer],
    jobs: Sequence[Job],
    metrics: MetricsAnswer,
    *,
    with_dead_executors: bool,
) -> DriverReport:
    """One poll.

    Args:
        stages: that are active.
        executors: alive ones, or all.
        jobs: that run.
        metrics: gauges.
        with_dead_executors: all executors were asked for.
    """
    reports = [
        _executor_report(executor, ExecutorId(number))
        for executor in executors
        if (number := whole_number(executor.id)) is not None
    ]
    return DriverReport(
        stages=tuple(_stage_report(stage) for stage in stages[:MOST_ACTIVE_STAGES]),
        executors=tuple(report for report in reports if report.active),
        running_jobs=tuple(job.job_id for job in jobs),
        streaming=_streaming(metrics, jobs),
        max_needed_executors=_whole_gauge(metrics, MAX_NEEDED_GAUGE),
        events_behind=_whole_gauge(metrics, EVENTS_BEHIND_GAUGE) or 0,
        dead_executors=tuple(report for report in reports if not report.active)
        if with_dead_executors
        else None,
    )


def environment(answer: EnvironmentAnswer) -> Environment:
    """Configuration and resource profiles.

    Raises:
        NoAnswer: a profile that cannot be.
    """
    return Environment(
        # the same few hundred keys, and mostly the same values, in each application
        spark_properties={shared(key): shared(value) for key, value in answer.spark_properties},
        resource_profiles={
            ProfileId(profile.id): _resource_profile(profile)
            for profile in answer.resource_profiles
        },
    )


def environment_in(body: bytes) -> Environment | None:
    """The environment that somebody else has fetched; None when it is none."""
    try:
        return environment(decoded("the driver", bytearray(body), EnvironmentAnswer))
    except NoAnswer:
        return None


def _stage_report(stage: StageAnswer) -> StageReport:
    return StageReport(
        stage_id=stage.stage_id,
        attempt_id=stage.attempt_id,
        profile_id=ProfileId(stage.resource_profile_id),
        num_tasks=_count(stage.num_tasks),
        completed_indices=_count(stage.num_completed_indices),
        active_tasks=_count(stage.num_active_tasks),
        submitted_at_ms=_epoch_ms(stage.submission_time),
        shuffle_write_bytes=_bytes(stage.shuffle_write_bytes),
    )


def _is_named(application_id: str) -> bool:
    """An id can be a part of a URL, a label and a status."""
    return 0 < len(application_id) <= LONGEST_TEXT and application_id.isprintable()


def _bytes(number: int) -> int:
    """A size of Spark's: a Long, not below zero."""
    return max(0, min(number, 2**63 - 1))


def _count(number: int) -> int:
    """A count of Spark's: an Int, not below zero."""
    return max(0, min(number, 2**31 - 1))


def _executor_report(executor: ExecutorAnswer, executor_id: ExecutorId) -> ExecutorReport:
    return ExecutorReport(
        id=executor_id,
        profile_id=ProfileId(executor.resource_profile_id),
        active=executor.is_active,
        active_tasks=_count(executor.active_tasks),
        max_tasks=_count(executor.max_tasks),
        total_tasks=_count(executor.total_tasks),
        failed_tasks=_count(executor.failed_tasks),
        rdd_blocks=_count(executor.rdd_blocks),
        cached_bytes=_bytes(_bytes(executor.memory_used) + _bytes(executor.disk_used)),
        shuffle_write_bytes=_bytes(executor.total_shuffle_write),
        added_at_ms=_epoch_ms(executor.add_time),
        remove_reason=(executor.remove_reason or "")[:LONGEST_REASON],
    )


def _resource_profile(profile: _Profile) -> ResourceProfile:
    amounts = (*profile.executor_resources.values(), *profile.task_resources.values())
    if any(not 0 <= each.amount < 2**63 for each in amounts):
        raise NoAnswer(
            Reason.BAD_ANSWER, f"the driver describes profile {profile.id} with an absurd amount"
        )
    return ResourceProfile(
        id=ProfileId(profile.id),
        executor_resources={
            name: ExecutorResourceRequest(
                resource_name=amount.resource_name,
                amount=int(amount.amount),
                discovery_script=amount.discovery_script or "",
                vendor=amount.vendor or "",
            )
            for name, amount in profile.executor_resources.items()
        },
        task_resources={
            name: TaskResourceRequest(resource_name=amount.resource_name, amount=amount.amount)
            for name, amount in profile.task_resources.items()
        },
    )


def _whole_gauge(metrics: MetricsAnswer, ending: str) -> int | None:
    for name, gauge in metrics.gauges.items():
        if name.endswith(ending) and isinstance(gauge.value, int):
            return _count(gauge.value)
    return None


def _streaming(metrics: MetricsAnswer, jobs: Sequence[Job]) -> StreamingReport:
    found = (streaming_job(job, _epoch_ms(job.submission_time)) for job in jobs)
    return read_streaming(
        {name: gauge.value for name, gauge in metrics.gauges.items() if STREAMS in name},
        [job for job in found if job is not None],
    )


def _epoch_ms(text: str | None) -> int | None:
    """Spark writes 2026-01-31T12:00:00.000GMT, for each executor in each answer again."""
    # what somebody else writes is not kept: it may be as long as an answer
    return _moment_ms(text) if text is not None and len(text) <= LONGEST_MOMENT else None


@lru_cache(maxsize=16_384)
def _moment_ms(text: str) -> int | None:
    written = _MOMENT.fullmatch(text)
    if written is None:
        return None
    try:
        moment = datetime.fromisoformat(written.group(1)).replace(tzinfo=UTC)
    except ValueError:
        return None
    return (moment - _EPOCH) // timedelta(milliseconds=1)
