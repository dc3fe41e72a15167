"""What a soak has to show, and the figures of both allocators side by side."""

from collections.abc import Sequence
from dataclasses import dataclass

from tests.soak.drivers import Allocator
from tests.soak.round import Played, Run
from tests.soak.work import Loss, Retry

MORE_THAN_SPARK = 0.02
"""Of the task-seconds: how much more may be computed again than under Spark's own allocator."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Sums over some runs. Times in seconds.

    Attributes:
        again: task-seconds that were for nothing or had to be done again.
        again_by_hand: those of them that go back to executors which the faults ended.
        again_by_bounds: those of the others that go back to executors which a lowered maximum let go. Spark's own bounds cannot be
            lowered; but nobody is to go with whom something would be lost.
        charged, charged_by_hand: tasks that Spark counts a failure against.
        retries, retries_by_hand: further attempts of stages.
        retries_with_migration: not by hand, of runs whose executors hand on what they hold.
    """

    runs: int
    makespan: float
    executor_seconds: float
    pods: int
    hit: int
    let_go: int
    tasks: int
    task_seconds: float
    again: float
    again_by_hand: float
    again_by_bounds: float
    charged: int
    charged_by_hand: int
    retries: int
    retries_by_hand: int
    retries_with_migration: int
    kept_again: int
    stuck: int

    @property
    def again_share(self) -> float:
        """Of the task-seconds, without what the faults themselves ended."""
        return (self.again - self.again_by_hand) / self.task_seconds if self.task_seconds else 0.0


def by_hand(run: Run, event: Loss | Retry) -> bool:
    """Whether it goes back to an executor that the faults ended."""
    return run.work.owed_to(run.hit, event, migrate=run.job.migrate)


def figures(runs: Sequence[Run]) -> Figures:
    """Their sums; the makespan is the mean."""
    losses = [(run, loss) for run in runs for loss in run.work.losses]
    charged = [(run, loss) for run, loss in losses if loss.charged]
    retries = [(run, retry) for run in runs for retry in run.work.retries]
    return Figures(
        runs=len(runs),
        makespan=sum(run.work.makespan for run in runs) / max(1, len(runs)),
        executor_seconds=sum(run.executor_seconds for run in runs),
        pods=sum(run.pods for run in runs),
        hit=sum(len(run.hit) for run in runs),
        let_go=sum(len(run.let_go) for run in runs),
        tasks=sum(run.work.tasks for run in runs),
        task_seconds=sum(run.work.task_seconds for run in runs),
        again=sum(loss.seconds for _, loss in losses),
        again_by_hand=sum(loss.seconds for run, loss in losses if by_hand(run, loss)),
        again_by_bounds=sum(
            loss.seconds
            for run, loss in losses
            if loss.executor in run.let_go and not by_hand(run, loss)
        ),
        charged=len(charged),
        charged_by_hand=sum(by_hand(run, loss) for run, loss in charged),
        retries=len(retries),
        retries_by_hand=sum(by_hand(run, retry) for run, retry in retries),
        retries_with_migration=sum(
            run.job.migrate and not by_hand(run, retry) for run, retry in retries
        ),
        kept_again=sum(run.kept_again for run in runs),
        stuck=sum(len(run.stuck) for run in runs),
    )


def violations(rounds: Sequence[Played]) -> list[str]:
    """What must not be under the operator; sentences with the run that they speak of."""
    found: list[str] = []
    for played in rounds:
        if played.allocator is not Allocator.OPERATOR:
            continue
        found += [f"seed {played.seed}: {each}" for each in played.broken]
        for run in played.runs:
            found += [f"seed {run.seed}, {run.job.name}: {each}" for each in complaints(run)]
    ours, theirs = (figures(runs_of(rounds, each)) for each in Allocator)
    allowed = theirs.again_share + MORE_THAN_SPARK
    if ours.again_share > allowed:
        found.append(
            f"{ours.again_share:.1%} of the task-seconds were computed again; under Spark's own allocator "
            f"{theirs.again_share:.1%}, so that {allowed:.1%} are allowed"
        )
    return found


def complaints(run: Run) -> list[str]:
    """What is wrong with one run, whoever allocated."""
    found = [f"wrong answer: {each}" for each in run.wrong]
    if run.phase != "Succeeded":
        found.append(f"its driver pod is {run.phase or 'away'}")
    found += [*run.stuck, *run.broken]
    for loss in run.work.losses:
        if loss.charged and not by_hand(run, loss):
            found.append(
                f"a task was charged on executor {loss.executor}: {loss.kind}, {loss.words}"
            )
    if run.job.migrate:
        found += [
            f"stage {retry.stage} was tried again because of executor {retry.executor or '(unknown)'}"
            for retry in run.work.retries
            if not by_hand(run, retry)
        ]
    if run.kept_again and not (run.hit or run.let_go):
        found.append(
            f"{run.kept_again} cached parts were computed again though nobody ended an executor"
        )
    return found


def runs_of(rounds: Sequence[Played], allocator: Allocator) -> list[Run]:
    """All runs under this allocator."""
    return [run for played in rounds if played.allocator is allocator for run in played.runs]


def table(rounds: Sequence[Played]) -> str:
    """Both allocators side by side."""
    sides = [figures(runs_of(rounds, each)) for each in Allocator]
    rows: list[tuple[str, list[str]]] = [
        ("runs", [str(each.runs) for each in sides]),
        ("makespan, mean", [f"{each.makespan:.1f} s" for each in sides]),
        ("executor-seconds", [f"{each.executor_seconds:.0f}" for each in sides]),
        ("executor pods", [str(each.pods) for each in sides]),
        ("  ended by the faults", [str(each.hit) for each in sides]),
        ("  let go by lowered bounds", [str(each.let_go) for each in sides]),
        ("tasks", [str(each.tasks) for each in sides]),
        ("task-seconds", [f"{each.task_seconds:.0f}" for each in sides]),
        ("recomputed task-seconds", [f"{each.again:.1f}" for each in sides]),
        ("  of them by the faults", [f"{each.again_by_hand:.1f}" for each in sides]),
        ("  of the rest by lowered bounds", [f"{each.again_by_bounds:.1f}" for each in sides]),
        ("  share of the others", [f"{each.again_share:.2%}" for each in sides]),
        ("charged tasks", [str(each.charged) for each in sides]),
        ("  of them by the faults", [str(each.charged_by_hand) for each in sides]),
        ("retried stages", [str(each.retries) for each in sides]),
        ("  of them by the faults", [str(each.retries_by_hand) for each in sides]),
        ("  others, with migration", [str(each.retries_with_migration) for each in sides]),
        ("cached parts computed again", [str(each.kept_again) for each in sides]),
        ("stuck executors", [str(each.stuck) for each in sides]),
    ]
    lines = [f"{'':34}{'operator':>12}{'Spark alone':>14}"]
    lines += [f"{name:34}{ours:>12}{theirs:>14}" for name, (ours, theirs) in rows]
    return "\n".join(lines)


def line(run: Run) -> str:
    """One run in one line."""
    work = run.work
    again = sum(each.seconds for each in work.losses)
    return (
        f"{run.allocator:8} seed {run.seed:3} {run.job.name} {'migrates' if run.job.migrate else 'holds':8} "
        f"{work.makespan:6.1f} s  {run.executor_seconds:5.0f} executor-s  {run.pods:2} pods  {len(run.hit)} hit  "
        f"{work.tasks:3} tasks  {again:5.1f} s again  {len(work.retries)} retries  "
        f"{'; '.join(complaints(run)) or 'right'}"
    )
