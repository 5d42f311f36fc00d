"""Runs a command in a process group of its own and ends the whole group with its starter.

    python -I -S guard.py LIFELINE GRACE REMOVE COMMAND…

LIFELINE is the file descriptor of a pipe's read end; only the starter holds the write end. Its end
of file means that the starter let go or is gone, however it went, `kill -9` included. Then the
group gets SIGTERM, after GRACE seconds SIGKILL, and the folder REMOVE ("" for none) is deleted.
A command that ends by itself leaves its folder to the starter, who may want to read why.
`Guarded` is the starter's side.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Self


class Guarded:
    """A command that outlives neither this object nor this process, nor do its descendants."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path | None = None,
        stdin: int | IO[bytes] | None = subprocess.DEVNULL,
        stdout: int | IO[bytes] | None = None,
        stderr: int | IO[bytes] | None = None,
        grace: float = 3.0,
        remove: Path | None = None,
    ) -> None:
        lifeline, self._hold = os.pipe()
        guard = [sys.executable, "-I", "-S", __file__, str(lifeline), str(grace), str(remove or "")]
        try:
            self._guard: subprocess.Popen[bytes] = subprocess.Popen(
                [*guard, *command],
                env=env,
                cwd=cwd,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                pass_fds=(lifeline,),
                start_new_session=True,
            )
        except BaseException:
            os.close(self._hold)
            raise
        finally:
            os.close(lifeline)

    @property
    def output(self) -> IO[bytes] | None:
        return self._guard.stdout

    def ended(self) -> int | None:
        """The command's exit code, 128 + n after signal n, or None while it runs."""
        return self._guard.poll()

    def wait(self, timeout: float | None = None) -> int:
        return self._guard.wait(timeout)

    def stop(self) -> int:
        """Returns once the whole group is gone and its folder is deleted. May be called again."""
        if self._hold >= 0:
            os.close(self._hold)
            self._hold = -1
        code = self._guard.wait()
        if self._guard.stdout is not None:
            self._guard.stdout.close()
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def remove_folder(folder: Path) -> None:
    """A process that is just dying may still write into it: hence the laps. Functions unpack tens
    of thousands of files, for which `rm` takes a quarter of what `shutil.rmtree` does."""
    for _ in range(20):
        subprocess.run(["rm", "-rf", "--", str(folder)], stderr=subprocess.DEVNULL, check=False)
        if not folder.exists():
            return
        time.sleep(0.1)


def _signal_group(leader: int, number: int) -> None:
    # macOS answers EPERM when only zombies are left.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)


def _run(lifeline: int, grace: float, remove: str, command: Sequence[str]) -> int:
    child = subprocess.Popen(command, start_new_session=True)
    gone, released = threading.Event(), threading.Event()

    def end() -> None:
        _signal_group(child.pid, signal.SIGTERM)
        if not gone.wait(grace):
            _signal_group(child.pid, signal.SIGKILL)

    def hold() -> None:
        os.read(lifeline, 1)
        released.set()
        end()

    def interrupted(_number: int, _frame: FrameType | None) -> None:
        threading.Thread(target=end, daemon=True).start()

    threading.Thread(target=hold, daemon=True).start()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, interrupted)
    code = child.wait()
    gone.set()
    _signal_group(child.pid, signal.SIGKILL)
    if remove and released.is_set():
        remove_folder(Path(remove))
    return code if code >= 0 else 128 - code


def main(arguments: Sequence[str]) -> int:
    lifeline, grace, remove, *command = arguments
    try:
        return _run(int(lifeline), float(grace), remove, command)
    except FileNotFoundError as error:
        print(f"cannot start {command[0]}: {error.strerror}", file=sys.stderr)
        return 127


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
