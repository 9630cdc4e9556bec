#!/bin/sh
# Before a stop: what is dirty in memory goes to the disk while the node still
# serves, so that the shutdown has little left to write. The cloud gives a
# machine 30 s in all; what is not written by then, Patroni gives up.
set -eu
timeout "${1:-10}" psql --no-psqlrc --quiet --no-password --dbname postgres --command CHECKPOINT >/dev/null 2>&1 || :
