"""What profiles offer and how many tasks fit: Spark's ResourceProfileSuite restated."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_allocation.core.resource_profiles import (
    CORES,
    CPUS,
    MEMORY,
    MEMORY_OVERHEAD,
    OFF_HEAP,
    PYSPARK_MEMORY,
    ExecutorCapacity,
    ExecutorResourceRequest,
    InvalidProfile,
    ProfileId,
    ResourceProfile,
    ResourceProfileManager,
    TaskResourceRequest,
    default_profile,
    executor_capacity,
)
from spark_allocation.core.spark_conf import InvalidSetting, SparkConf

GPU = "gpu"
EXECUTOR_GPUS = "spark.executor.resource.gpu.amount"
TASK_GPUS = "spark.task.resource.gpu.amount"
STANDALONE = {"spark.master": "spark://host:7077"}
KUBERNETES = {"spark.master": "k8s://https://host:443"}


def profile(
    executor: dict[str, int],
    task: dict[str, float],
    *,
    profile_id: int = 1,
    task_only: bool = False,
) -> ResourceProfile:
    return ResourceProfile(
        ProfileId(profile_id),
        {name: ExecutorResourceRequest(name, amount) for name, amount in executor.items()},
        {name: TaskResourceRequest(name, amount) for name, amount in task.items()},
        task_only,
    )


def amounts(of: ResourceProfile) -> dict[str, int]:
    return {name: request.amount for name, request in of.executor_resources.items()}


class TestDefaultProfile:
    def test_has_the_applications_resources(self) -> None:
        default = default_profile(SparkConf())

        assert default.id == 0
        assert amounts(default) == {CORES: 1, MEMORY: 1024, OFF_HEAP: 0}
        assert default.task_resources == {CPUS: TaskResourceRequest(CPUS, 1.0)}

    def test_on_standalone_executors_have_all_cores(self) -> None:
        assert CORES not in default_profile(SparkConf(STANDALONE)).executor_resources
        assert (
            amounts(default_profile(SparkConf({**STANDALONE, "spark.executor.cores": "4"})))[CORES]
            == 4
        )

    def test_takes_every_setting(self) -> None:
        conf = SparkConf(
            {
                "spark.executor.pyspark.memory": "2g",
                "spark.executor.memoryOverhead": "1g",
                "spark.executor.memory": "4g",
                "spark.executor.cores": "4",
                "spark.memory.offHeap.enabled": "true",
                "spark.memory.offHeap.size": "3m",
                TASK_GPUS: "1",
                EXECUTOR_GPUS: "1",
                "spark.executor.resource.gpu.discoveryScript": "find-gpus",
                "spark.executor.resource.gpu.vendor": "nvidia.com",
            }
        )

        default = default_profile(conf)

        assert amounts(default) == {
            MEMORY: 4096,
            MEMORY_OVERHEAD: 1024,
            PYSPARK_MEMORY: 2048,
            OFF_HEAP: 3,
            CORES: 4,
            GPU: 1,
        }
        assert default.executor_resources[GPU] == ExecutorResourceRequest(
            GPU, 1, "find-gpus", "nvidia.com"
        )
        assert set(default.task_resources) == {CPUS, GPU}

    def test_keeps_fractions_and_drops_nothing(self) -> None:
        fraction = default_profile(SparkConf({TASK_GPUS: "0.33", EXECUTOR_GPUS: "0"}))
        nothing = default_profile(SparkConf({TASK_GPUS: "0", EXECUTOR_GPUS: "2"}))

        assert fraction.task_resources[GPU].amount == 0.33
        assert GPU not in fraction.executor_resources
        assert GPU not in nothing.task_resources
        assert nothing.custom_executor_resources() == {GPU: ExecutorResourceRequest(GPU, 2)}

    @pytest.mark.parametrize(
        ("settings", "key"),
        [
            ({"spark.memory.offHeap.enabled": "true"}, "spark.memory.offHeap.size"),
            ({"spark.executor.resource.gpu.vendor": "x"}, EXECUTOR_GPUS),
            ({"spark.executor.resource.gpu": "1"}, "spark.executor.resource.gpu"),
            ({EXECUTOR_GPUS: " 2"}, EXECUTOR_GPUS),
            ({"spark.task.cpus": "0"}, "spark.task.cpus"),
            ({"spark.task.cpus": "some"}, "spark.task.cpus"),
            ({TASK_GPUS: "many"}, TASK_GPUS),
        ],
    )
    def test_a_refusal_names_the_setting(self, settings: dict[str, str], key: str) -> None:
        with pytest.raises(InvalidSetting) as refused:
            default_profile(SparkConf(settings))

        assert refused.value.key == key


class TestTasksPerExecutor:
    @pytest.mark.parametrize(
        ("settings", "executor", "task", "capacity"),
        [
            ({"spark.executor.cores": "1"}, {GPU: 2}, {GPU: 1}, ExecutorCapacity(1, CPUS, True)),
            (STANDALONE, {GPU: 2}, {GPU: 1}, ExecutorCapacity(2, GPU, False)),
            (STANDALONE, {}, {}, ExecutorCapacity(1, "", False)),
            ({"spark.executor.cores": "2"}, {GPU: 2}, {GPU: 1}, ExecutorCapacity(2, CPUS, True)),
            (KUBERNETES, {CORES: 4}, {CPUS: 2}, ExecutorCapacity(2, CPUS, True)),
            (KUBERNETES, {CORES: 16, GPU: 2}, {GPU: 0.25}, ExecutorCapacity(8, GPU, True)),
            (KUBERNETES, {CORES: 16, GPU: 1}, {GPU: 0.3}, ExecutorCapacity(3, GPU, True)),
            (KUBERNETES, {CORES: 16, GPU: 7}, {GPU: 2}, ExecutorCapacity(3, GPU, True)),
            (KUBERNETES, {CORES: 2, GPU: 2}, {}, ExecutorCapacity(2, CPUS, True, (GPU,))),
            (KUBERNETES, {CORES: 3}, {CPUS: 1.0}, ExecutorCapacity(3, CPUS, True)),
        ],
    )
    def test_the_scarcest_resource_limits(
        self,
        settings: dict[str, str],
        executor: dict[str, int],
        task: dict[str, float],
        capacity: ExecutorCapacity,
    ) -> None:
        assert executor_capacity(profile(executor, task), SparkConf(settings)) == capacity

    @pytest.mark.parametrize(
        ("cores", "cpus", "tasks"),
        [(2, 0.5, 4), (7, 0.7, 10), (8, 0.15, 53), (4, 1.5, 2), (1, 0.9, 1)],
    )
    def test_a_task_may_take_a_fraction_of_a_core(
        self, cores: int, cpus: float, tasks: int
    ) -> None:
        """Since Spark 4.3; drivers before refuse it themselves."""
        conf = SparkConf(
            {**KUBERNETES, "spark.executor.cores": str(cores), "spark.task.cpus": str(cpus)}
        )

        assert executor_capacity(profile({CORES: cores}, {CPUS: cpus}), conf).tasks == tasks
        assert executor_capacity(default_profile(conf), conf).tasks == tasks

    def test_what_a_profile_leaves_open_is_the_applications(self) -> None:
        conf = SparkConf({**KUBERNETES, "spark.executor.cores": "6", "spark.task.cpus": "2"})

        assert executor_capacity(profile({}, {}), conf).tasks == 3

    @pytest.mark.parametrize(("task_gpus", "tasks", "limit"), [(1, 2, CPUS), (2, 1, GPU)])
    def test_a_profile_of_tasks_uses_the_default_executors(
        self, task_gpus: int, tasks: int, limit: str
    ) -> None:
        conf = SparkConf(
            {**KUBERNETES, "spark.executor.cores": "2", EXECUTOR_GPUS: "2", TASK_GPUS: "1"}
        )
        tasks_only = profile({}, {CPUS: 1, GPU: task_gpus}, task_only=True)

        capacity = executor_capacity(tasks_only, conf, dynamic_allocation=False)

        assert (capacity.tasks, capacity.limiting_resource) == (tasks, limit)
        with pytest.raises(InvalidProfile, match="executors do not have it"):
            executor_capacity(tasks_only, conf)

    @pytest.mark.parametrize(
        ("executor", "task", "resource"),
        [
            ({CORES: 1}, {CPUS: 2}, CORES),
            ({CORES: 1}, {CPUS: 0}, CPUS),
            ({CORES: 1, GPU: 1}, {GPU: 2}, GPU),
            ({CORES: 1}, {GPU: 1}, GPU),
        ],
    )
    def test_tasks_that_fit_nowhere_are_refused(
        self, executor: dict[str, int], task: dict[str, float], resource: str
    ) -> None:
        with pytest.raises(InvalidProfile) as refused:
            executor_capacity(profile(executor, task), SparkConf(KUBERNETES))

        assert refused.value.resource == resource

    @given(
        cores=st.integers(1, 64),
        cpus=st.integers(1, 64),
        gpus=st.integers(1, 16),
        share=st.floats(0.01, 0.5),
    )
    def test_that_many_tasks_fit_and_no_more(
        self, cores: int, cpus: int, gpus: int, share: float
    ) -> None:
        shared = profile({CORES: cores, GPU: gpus}, {CPUS: cpus, GPU: share})
        if cpus > cores:
            with pytest.raises(InvalidProfile):
                executor_capacity(shared, SparkConf(KUBERNETES))
            return
        tasks = executor_capacity(shared, SparkConf(KUBERNETES)).tasks

        assert tasks * cpus <= cores
        assert tasks <= gpus * (1 / share)
        assert (tasks + 1) * cpus > cores or tasks + 1 > gpus * int(1 / share)


class TestAmountsOfTasks:
    @pytest.mark.parametrize("amount", [0.33, 0.7, 1.0, 2.0, 4.0])
    def test_a_request_takes_shares_and_whole_numbers(self, amount: float) -> None:
        assert TaskResourceRequest(GPU, amount).amount == amount

    def test_a_request_refuses_more_than_one_that_is_not_whole(self) -> None:
        with pytest.raises(InvalidProfile, match=r"1\.5"):
            TaskResourceRequest(GPU, 1.5)

    @pytest.mark.parametrize("amount", [0.1, 0.5, 1])
    def test_spark_45527_a_profile_takes_half_or_less_or_whole(self, amount: float) -> None:
        assert profile({GPU: 1}, {GPU: amount}).custom_task_resources()[GPU].amount == amount

    def test_spark_45527_a_share_over_a_half_needs_a_profile_of_tasks(self) -> None:
        with pytest.raises(InvalidProfile, match=r"0\.7"):
            profile({GPU: 1}, {GPU: 0.7})
        assert profile({}, {GPU: 0.7}, task_only=True).task_only


class TestManager:
    def test_knows_the_default_profile(self) -> None:
        manager = ResourceProfileManager(SparkConf(KUBERNETES))

        assert [known.id for known in manager] == [0]
        assert manager.capacity(ProfileId(0)) == ExecutorCapacity(1, CPUS, True)
        assert manager.get(ProfileId(1)) is None
        assert manager.capacity(ProfileId(1)) is None

    def test_the_first_profile_under_an_id_stays(self) -> None:
        manager = ResourceProfileManager(SparkConf(KUBERNETES))
        manager.add(profile({CORES: 4}, {}))
        manager.add(profile({CORES: 8}, {}))

        assert manager.capacity(ProfileId(1)) == ExecutorCapacity(4, CPUS, True)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            (
                {"spark.executor.cores": "1", "spark.task.cpus": "2"},
                "spark.executor.cores='1': an executor has 1, a task takes 2: no task would fit",
            ),
            (
                {"spark.task.cpus": "2"},
                "spark.task.cpus='2': an executor has 1, a task takes 2: no task would fit",
            ),
            (
                {TASK_GPUS: "1"},
                f"{TASK_GPUS}='1': tasks ask for it, but executors do not have it",
            ),
            (
                {EXECUTOR_GPUS: "2", TASK_GPUS: "0.7"},
                f"{TASK_GPUS}='0.7': the amount 0.7 of a task must be at most 0.5, or a whole number",
            ),
        ],
    )
    def test_settings_that_make_no_profile_are_refused_by_their_keys(
        self, settings: dict[str, str], message: str
    ) -> None:
        with pytest.raises(InvalidSetting) as refused:
            ResourceProfileManager(SparkConf({**KUBERNETES, **settings}))

        assert str(refused.value) == message

    def test_a_refused_profile_stays_unknown(self) -> None:
        manager = ResourceProfileManager(SparkConf(KUBERNETES))
        with pytest.raises(InvalidProfile):
            manager.add(profile({CORES: 1}, {CPUS: 2}))

        assert ProfileId(1) not in manager
