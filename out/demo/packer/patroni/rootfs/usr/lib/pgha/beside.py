"""Programs that run as postgres, for a service that is root without rights."""

import os
import signal
import subprocess

import databases

PATIENCE = 30  # seconds until what does not end by itself is killed
LARGEST = 1 << 20  # bytes: of what a program said


def as_postgres(*arguments: str) -> list[str]:
    """A program, as postgres: the service may write to none of its files."""
    return ["setpriv", f"--reuid={databases.SUPERUSER}", f"--regid={databases.SUPERUSER}", "--init-groups", "--", *arguments]


class Beside:
    """A program that runs beside, with all that it starts. It may say as much as it likes: nobody reads it before the end."""

    def __init__(self, arguments: list[str]) -> None:
        self.output = os.fdopen(os.memfd_create("output"), "rb")
        self.process = subprocess.Popen(arguments, stdout=self.output, stderr=subprocess.STDOUT, cwd="/", start_new_session=True)

    def ended(self) -> tuple[int, str] | None:
        """Once it has ended: its exit status, and the end of what it said. None: it runs."""
        status = self.process.poll()
        if status is None:
            return None
        with self.output:
            self.output.seek(max(0, os.fstat(self.output.fileno()).st_size - LARGEST))
            return status, self.output.read().decode(errors="replace")

    def end(self) -> None:
        """Ends it, with all that it started. They are postgres', so this process may not."""
        self.output.close()
        for number in (signal.SIGTERM, signal.SIGKILL):
            subprocess.run(as_postgres("kill", f"-{number.value}", "--", f"-{self.process.pid}"), check=False, cwd="/", stderr=subprocess.DEVNULL)
            try:
                self.process.wait(timeout=PATIENCE)
                return
            except subprocess.TimeoutExpired:
                pass
