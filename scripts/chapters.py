"""Executing chapters: shared by the build (into its cache) and by `make execute` (in place)."""

import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import nbformat
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).resolve().parents[1]
PROCESSES = 2
CELL_TIMEOUT = 300  # seconds


def execute(path: Path) -> tuple[nbformat.NotebookNode, float]:
    """Run one notebook in its own folder: the executed notebook and the seconds it took."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        # Sockets in a folder of its own: two kernels that start at the same moment can be given the same network port.
        manager = AsyncKernelManager(
            kernel_name="python3", transport="ipc", connection_file=str(Path(folder) / "kernel.json")
        )
        client = NotebookClient(
            notebook,
            km=manager,
            timeout=CELL_TIMEOUT,
            startup_timeout=CELL_TIMEOUT,
            record_timing=False,
            coalesce_streams=True,
            extra_arguments=["--log-level=ERROR"],  # the kernel's own remarks are not the chapter's
            resources={"metadata": {"path": str(path.parent)}},
        )
        start = time.perf_counter()
        client.execute(cleanup_kc=True)  # the client ends only kernels of its own making unless told to
        return notebook, time.perf_counter() - start


def begin() -> None:
    """Let this process end when its parent is gone: it would wait for work for ever."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def execute_all(paths: Iterable[Path], keep: Callable[[Path, nbformat.NotebookNode, float], None]) -> bool:
    """Run notebooks, two at a time, handing each finished one to `keep`; say what happens; true if none failed."""
    failed = False
    with ProcessPoolExecutor(PROCESSES, initializer=begin) as pool:
        try:
            waiting = {pool.submit(execute, path): path for path in paths}
            print(f"executing {len(waiting)} chapters, {PROCESSES} at a time", flush=True)
            for future in as_completed(waiting):
                path = waiting[future]
                try:
                    notebook, seconds = future.result()
                except CellExecutionError as error:
                    failed = True
                    print(f"  {path.stem}: a cell failed\n{error}", file=sys.stderr, flush=True)
                    continue
                print(f"  {path.stem}: {seconds:.0f} s", flush=True)
                keep(path, notebook, seconds)
        except BaseException:  # interrupted: the pool would wait for the chapters at work
            for process in multiprocessing.active_children():
                process.kill()
            raise
    return not failed
