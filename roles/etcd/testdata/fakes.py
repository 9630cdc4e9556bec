"""Programs that stand for etcdctl and systemctl: they answer from a table, and remember how they were called."""

import json
import os
import sys

PROGRAM = """#!%s -sE
import json, os, sys
with open(%r) as file:
    answers = json.load(file)
args = sys.argv[1:]
for option in ("--dial-timeout", "--command-timeout", "--cacert", "--cert", "--key", "--write-out", "--endpoints"):
    if option in args:
        at = args.index(option)
        del args[at:at + 2]
call = " ".join([os.path.basename(sys.argv[0]), *args])
text = "" if sys.stdin.isatty() else sys.stdin.read()
with open(%r, "a") as file:
    file.write(json.dumps([call, text]) + "\\n")
for start, answer in answers:
    if call.startswith(start):
        if isinstance(answer[0], list):  # one after the other, the last for ever
            with open(%r) as file:
                before = sum(json.loads(line)[0] == call for line in file) - 1
            answer = answer[min(before, len(answer) - 1)]
        status, out = answer
        print(out if isinstance(out, str) else json.dumps(out), file=sys.stderr if status and isinstance(out, str) else sys.stdout)
        sys.exit(status)
sys.exit("Error: the fake knows no " + call)
"""


class Fakes:
    """The programs, in a folder of the test's own that is put first in PATH."""

    def __init__(self, folder: str, *names: str) -> None:
        self.table, self.log = os.path.join(folder, "table.json"), os.path.join(folder, "calls")
        bin_ = os.path.join(folder, "bin")
        os.mkdir(bin_)
        for name in names:
            path = os.path.join(bin_, name)
            with open(path, "w", encoding="ascii") as file:
                file.write(PROGRAM % (sys.executable, self.table, self.log, self.log))
            os.chmod(path, 0o755)
        os.environ["PATH"] = bin_ + ":" + os.environ["PATH"]

    def answer(self, table: dict[str, tuple[int, object]], series: dict[str, list[tuple[int, object]]] = {}) -> None:
        """What each call ends with and prints, by how it begins: the longest beginning counts. A series is one
        answer after the other."""
        with open(self.table, "w", encoding="utf-8") as file:
            json.dump(sorted((table | series).items(), key=lambda row: -len(row[0])), file)
        with open(self.log, "w", encoding="utf-8"):
            pass

    def calls(self) -> list[str]:
        """How the programs were called."""
        with open(self.log, encoding="utf-8") as file:
            return [json.loads(line)[0] for line in file]

    def texts(self) -> list[str]:
        """What they were given to read, if anything."""
        with open(self.log, encoding="utf-8") as file:
            return [text for _, text in map(json.loads, file) if text]


def member(number: int, started: bool = True) -> dict[str, object]:
    """A row of the list of members, as etcdctl prints it."""
    row = {"ID": 0x8211f1d0f64f3269 + number, "peerURLs": [f"https://10.0.0.{number}:2380"]}
    return row | {"name": f"etcd-{number}", "clientURLs": [f"https://10.0.0.{number}:2379"]} if started else row


def health(good: list[int], bad: list[int] = []) -> list[dict[str, object]]:
    """What etcdctl endpoint health prints."""
    return [{"endpoint": f"https://10.0.0.{n}:2379", "health": n in good} | ({} if n in good else {"error": "context deadline exceeded"})
            for n in good + bad]
