#!/usr/bin/python3 -sES
"""Keeps for the HAProxy after a reload what this one knows of the servers.

    servers_state.py           before a reload
    servers_state.py leaders   says which nodes lead

Otherwise it would start with all of them down, as HAProxy does when its machine
boots, and refuse new clients until their first checks. A server that this one does
not know starts as the configuration's own state file has it: down.
"""

import os
import socket
import sys

GIVEN = os.environ.get("PGHA_SERVERS_STATE", "/etc/haproxy/servers.state")
RUN = os.environ.get("PGHA_HAPROXY_RUN", "/run/haproxy")


def ask(path: str, command: str) -> str:
    """What HAProxy answers on its admin socket."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(path)
        connection.sendall(command.encode() + b"\n")
        connection.shutdown(socket.SHUT_WR)  # the master waits for more, otherwise
        answer = b""
        while data := connection.recv(65536):
            answer += data
    return answer.decode()


def merged(known: str, given: str) -> str:
    """The state that HAProxy gave, and from the file the servers that it does not name."""
    def names(line: str) -> tuple[str, ...]:
        words = line.split()
        return (words[1], words[3])  # backend and server (management.txt, "show servers state")

    lines = [line for line in known.splitlines() if line.strip()]
    have = {names(line) for line in lines[2:]}
    return "\n".join(lines + [line for line in given.splitlines()[2:] if line.strip() and names(line) not in have]) + "\n"


def leaders(known: str, answering: bool = False) -> list[str]:
    """The nodes to which HAProxy sends writers; only those that answered its last check, if asked for."""
    running, failed = "2", "2"  # SRV_ST_RUNNING, CHK_RES_FAILED
    lines = [line.split() for line in known.splitlines()[2:]]
    return [words[3] for words in lines if len(words) > 5 and words[1] == "primary" and words[5] == running
            and not (answering and words[11:12] == [failed])]


def silent(known: str) -> list[str]:
    """The nodes that had writers and do not answer, while another one leads."""
    answering = leaders(known, answering=True)
    return [node for node in leaders(known) if node not in answering] if answering else []


def main() -> None:
    """Writes the state whole, or not at all."""
    known = ask(os.path.join(RUN, "admin.sock"), "show servers state")
    if sys.argv[1:] == ["leaders"]:
        print(*leaders(known), sep="\n")
        return
    with open(GIVEN, encoding="ascii") as file:
        given = file.read()
    state = merged(known, given)
    path = os.path.join(RUN, "servers.state")
    with open(path + ".new", "w", encoding="ascii") as file:
        file.write(state)
    os.rename(path + ".new", path)


if __name__ == "__main__":
    main()
