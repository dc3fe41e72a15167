"""A recorded application, run again in thought under a host that allocates.

Theory of operation
-------------------
A discrete-event simulation (`Agenda`) in which each part does what its counterpart in Spark does: the driver's program
submits jobs (`DriverProgram`), jobs want stages (`StageScheduler`), tasks get places (`TaskScheduler`), executors hold
data (`ExecutorData`), and come and go in a cluster (`SimulatedCluster`), where the host asks for them. After each moment the
host says when it decides next.

Not simulated: the network, memory, the speed of nodes, speculation, preferred hosts, how a longer or shorter run changes
what tasks do. Tasks of one kind on a new executor are not slower.
"""

from collections.abc import Callable

from spark_allocation.core.listener_events import ListenerEvent, ResourceProfileAdded
from spark_allocation.core.resource_profiles import InvalidProfile, ResourceProfileManager
from spark_allocation.core.simulation.agenda import Agenda, Order
from spark_allocation.core.simulation.application import RecordedApplication
from spark_allocation.core.simulation.cluster import ClusterModel
from spark_allocation.core.simulation.driver_program import DriverProgram
from spark_allocation.core.simulation.executor_data import DataRules, ExecutorData
from spark_allocation.core.simulation.hosts import AllocationHost, Scene
from spark_allocation.core.simulation.outcome import Outcome
from spark_allocation.core.simulation.simulated_cluster import SimulatedCluster
from spark_allocation.core.simulation.simulated_driver import SimulatedDriver
from spark_allocation.core.simulation.simulated_executors import SimulatedTask
from spark_allocation.core.simulation.stage_runs import StageRun
from spark_allocation.core.simulation.stage_scheduler import StageScheduler
from spark_allocation.core.simulation.tally import Tally
from spark_allocation.core.simulation.task_scheduler import TaskScheduler

LONGEST_MS = 24 * 3_600_000
LONGEST_TIMES = 20
"""A run that takes a day and so many times as long as the recorded one is given up."""


class Simulation:
    """One run.

    Args:
        application: what there is to do.
        host: who allocates.
        profiles: the application's; those that the log names are added.
        cluster: how pods start and fail.
        data: what becomes of what executors hold.
        observer: told of every event of the driver with its time, in milliseconds.
    """

    def __init__(
        self,
        application: RecordedApplication,
        host: AllocationHost,
        profiles: ResourceProfileManager,
        cluster: ClusterModel | None = None,
        data: DataRules | None = None,
        *,
        observer: Callable[[int, ListenerEvent], None] | None = None,
    ) -> None:
        model = cluster or ClusterModel()
        stages = {stage_id: StageRun(record) for stage_id, record in application.stages.items()}
        post = self._post
        self._application = application
        self._host = host
        self._profiles = profiles
        self._observer = observer
        self._decide_at: int | None = None
        self._agenda = agenda = Agenda()
        self._tally = tally = Tally()
        held = ExecutorData(stages, data or DataRules(), model.seed, post)
        tasks = TaskScheduler(
            agenda, tally, held, seed=model.seed, post=post, ended=self._task_ended
        )
        self._stages = StageScheduler(stages, agenda, tally, held, tasks, post=post)
        self._program = DriverProgram(application, agenda, self._stages, held, post=post)
        self._cluster = SimulatedCluster(
            model, profiles, agenda, tally, data=held, tasks=tasks, stages=self._stages, post=post
        )

    def run(self) -> Outcome:
        """Run to the end of the application, or until it is clear that there is none."""
        application, agenda, program = self._application, self._agenda, self._program
        for profile in application.profiles:
            try:
                self._profiles.add(profile)
            except InvalidProfile:
                continue  # Spark would have refused it: no stage can have it
            self._post(ResourceProfileAdded(profile))
        executors = self._cluster.registered
        driver = SimulatedDriver(executors, self._stages, program, self._profiles)
        self._host.begin(Scene(self._cluster, driver), 0)
        program.begin()
        self._tally.moment(0, 0)
        limit = max(LONGEST_MS, LONGEST_TIMES * application.duration_ms)
        self._arrange_decision()
        while program.ended_ms is None and (at := agenda.next_at_ms) is not None and at <= limit:
            agenda.pass_moment()
            self._tally.moment(at, len(executors))
            if program.ended_ms is None:
                self._arrange_decision()
        finished = program.ended_ms is not None
        return self._tally.outcome(self._cluster.executors, agenda.now_ms, finished=finished)

    def _arrange_decision(self) -> None:
        at = self._host.next_at_ms(self._agenda.now_ms)
        if at is not None and (self._decide_at is None or at < self._decide_at):
            self._decide_at = at
            self._agenda.later(at, Order.DECIDE, self._decide)

    def _decide(self) -> None:
        if self._decide_at == self._agenda.now_ms:
            self._decide_at = None
            self._host.decide(self._agenda.now_ms)

    def _post(self, event: ListenerEvent) -> None:
        if self._observer is not None:
            self._observer(self._agenda.now_ms, event)
        self._host.post(event, self._agenda.now_ms)

    def _task_ended(self, task: SimulatedTask) -> None:
        self._stages.task_ended(task)
        self._cluster.task_ended(task.executor)
