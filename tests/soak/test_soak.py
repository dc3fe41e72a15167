"""Three short real jobs at once, once: what `make soak` does thirty times and longer."""

from pathlib import Path

import pytest
from tests.cluster import Cluster
from tests.soak.drivers import Allocator
from tests.soak.round import SHORT, Round
from tests.soak.verdict import line, violations
from tests.soak.workload import Job

SEED = 1
RUNS = 3


@pytest.mark.cluster
async def test_jobs_under_faults_lose_nothing(
    cluster: Cluster, spark_image: str, tmp_path: Path
) -> None:
    jobs = [Job.from_seed(SEED, number, short=True) for number in range(RUNS)]
    round_ = Round(
        cluster,
        spark_image,
        SEED,
        tmp_path,
        jobs=jobs,
        allocator=Allocator.OPERATOR,
        shape=SHORT,
        say=print,
    )
    played = await round_.play()
    print("\n".join(line(run) for run in played.runs))
    assert len(played.runs) == RUNS
    assert violations([played]) == []
    assert played.faults > 0
    assert played.kills > 0
