"""The end of a child process."""

from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess


def end_child(pipe: Connection, process: BaseProcess, *, patience: float) -> None:
    """Close `pipe`, which tells the child to end, and kill it after `patience` seconds.

    Idempotent. The child is gone when this returns.
    """
    pipe.close()
    process.join(patience)
    if process.is_alive():
        process.kill()
        process.join()
