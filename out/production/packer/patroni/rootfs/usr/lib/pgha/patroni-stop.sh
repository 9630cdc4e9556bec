#!/bin/sh
# Before a stop: a checkpoint while the node still serves, so that the shutdown
# has little left to write. The cloud gives a machine 30 s in all, and Patroni
# does not wait for longer.
set -eu
timeout "${1:-10}" psql --no-psqlrc --quiet --no-password --dbname postgres --command CHECKPOINT >/dev/null 2>&1 || :
