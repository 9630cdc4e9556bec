#!/bin/sh
# clone.sh FOLDER PROGRAM ARGUMENT...: has a program make this node's copy of the
# database in FOLDER. Beside it is a mark, FOLDER.unfinished, as long as the program
# runs: one that a power cut leaves behind, clone-clean.sh finds.
set -eu
mark=$1.unfinished
shift
: >"$mark"
exec 9<"$mark"
flock 9 # held by the program, too, should it outlive Patroni
status=0
"$@" || status=$?
rm -f "$mark"
exit "$status"
