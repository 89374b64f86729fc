"""Runs `reidd` commands in processes that have read their modules already, which is most of what a command costs."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path


class Commands:
    """A process that becomes one command after another, a child for each."""

    def __init__(self):
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, *words: object, env: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end."""
        with tempfile.TemporaryDirectory() as folder:
            said = [f"{folder}/stdout", f"{folder}/stderr"]
            order = {"words": [*map(str, words)], "env": dict(env), "said": said, "folder": str(Path.cwd())}
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            status = int(self._process.stdout.readline())
            return subprocess.CompletedProcess(words, status, *(Path(name).read_text() for name in said))

    def close(self) -> None:
        with self._process as process:
            process.stdin.close()


def become(words: list[str], env: dict[str, str], said: list[str], folder: str) -> None:
    """Make of this process what `reidd` would be started as."""
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, name in enumerate(said, 1):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT), number)
    sys.argv = ["reidd", *words]


def serve() -> None:
    # What nearly every command reads, and nothing that starts a thread.

    import reidd.cli
    import reidd.client

    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            become(**json.loads(line))
            sys.exit(reidd.cli.main())
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    sys.path.remove(str(Path(__file__).parent))
    serve()
