"""Processes that end when somebody presses Ctrl-C, without a word: the one that started them says what there is to say."""

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class _Pool(ProcessPoolExecutor):
    """Starts its processes with the first piece of work; until one has begun, Ctrl-C waits for it."""

    def submit(
        self,
        fn: Callable[Arguments, Result],
        /,
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Future[Result]:
        with _interrupts_held():
            return super().submit(fn, *args, **kwargs)


@contextmanager
def worker_processes(number: int) -> Iterator[ProcessPoolExecutor]:
    """So many processes, which are stopped when the block is left by an exception; there are no others of this process.

    It is left when they have ended: a pool that is not waited for ends beside the interpreter, which stumbles over it.
    """
    with _Pool(number, initializer=_end_at_once) as pool:
        try:
            yield pool
        except BaseException:
            for each in multiprocessing.active_children():
                each.terminate()
            pool.shutdown(cancel_futures=True)
            raise


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """A process that is started meanwhile has them held, too, and does not get one before it knows what to do with it."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows, whose processes begin anew
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_at_once() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
