#!/usr/bin/python3 -sES
"""What pgBackRest complains of, in one sentence that says what to do about it.

It shows whole HTTP requests, and calls it "no backup set found" when it could not look
for one. As a program: complaint.py <OUTPUT
"""

import itertools
import re
import sys

# What is looked for in all that it said, and the sentence; the first one counts. Codes are
# those of object storage: https://yandex.cloud/en/docs/storage/s3/api-ref/response-codes
KNOWN = (
    (r"<Code>AccessDenied<", "object storage refuses this machine: give its service account the role storage.editor on the bucket"),
    (r"\b403 \(Forbidden\)(?:.*<Code>(\w+)<)?", "object storage does not take this machine's key, {}: the step storage-key says more"),
    (r"<Code>NoSuchBucket<", "the bucket is not there: create it, or correct backup.bucket"),
    (r"\[507\]", "the bucket is full: raise its limit, or lower backup.retention"),
    (r"\[(5\d\d)\] \w[\w ]*\w", "object storage answers {}, and may come back by itself"),
    (r"\[ServiceError\] TLS error", "object storage breaks connections off, and may come back by itself"),
    (r"\[HostConnectError\] ([^\n]*)", "object storage is not reached: {}"),
    (r"unable to load info file.*CryptoError",
     "what is in the bucket is encrypted with another pass phrase: take the folder of secrets with which it was made, or give backup.prefix a new folder"),
    (r"unable to load info file[^\n]*/(archive|backup)\.info.*FileMissingError",
     "the bucket has no {}.info in this cluster's folder: it is another one, or it was emptied"),
    (r"unable to find backup set with [^']*('[^']*')", "no backup is older than {}: pgha-gen cluster backups says how far one can go back"),
    (r"asynchronously after (\d+ second)", "a segment is not archived after {}s: object storage is slow, or away"),
)


def complaint(said: str) -> str:
    """The sentence. What is not known here is pgBackRest's own last one."""
    for pattern, sentence in KNOWN:
        found = re.search(pattern, said, re.DOTALL)
        if found:
            return sentence.format(*(part or found[0] for part in found.groups()))
    lines = said.splitlines()
    errors = [number for number, line in enumerate(lines) if "ERROR:" in line]
    if not errors:
        return next((line.strip() for line in lines if line.strip()), "it says nothing")
    first = re.sub(r".*?ERROR: (\[\d+\]: )?", "", lines[errors[-1]])
    more = itertools.takewhile(lambda line: line.startswith(" ") and "HINT:" not in line, lines[errors[-1] + 1:])
    return " ".join([first.strip(), *(line.strip() for line in more)])


if __name__ == "__main__":
    print(complaint(sys.stdin.read()))
