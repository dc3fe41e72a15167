"""When the program of a simulated run submits its jobs."""

from dataclasses import replace

from tests.unit.simulated_applications import KEPT, application, job, spark, stage, under

from spark_allocation.core.listener_events import JobEnd, JobStart
from spark_allocation.core.simulation.application import Follows


def test_jobs_follow_the_jobs_that_they_followed() -> None:
    stages = [stage(number, [seconds]) for number, seconds in enumerate((2, 4, 1))]
    jobs = [job(0, 0, after=0), job(1, 1, after=0), job(2, 2, after=2, pause=1)]
    run = application(stages, jobs, tail=2)
    outcome, heard = under(run, spark(run, **KEPT))
    assert {e.job_id: at for at, e in heard if isinstance(e, JobStart)} == {0: 0, 1: 0, 2: 5000}
    assert {e.job_id: at for at, e in heard if isinstance(e, JobEnd)} == {0: 2000, 1: 4000, 2: 6000}
    assert outcome.makespan_ms == 8000


def test_a_batch_of_a_stream_does_not_begin_before_its_time() -> None:
    jobs = [
        replace(job(n, n), follows=Follows(n, 0, "query"), not_before_ms=10_000 * (n + 1))
        for n in range(3)
    ]
    run = application([stage(0, [1]), stage(1, [15]), stage(2, [1])], jobs)
    _, heard = under(run, spark(run, **KEPT))
    assert [at for at, e in heard if isinstance(e, JobStart)] == [10_000, 20_000, 35_000]
