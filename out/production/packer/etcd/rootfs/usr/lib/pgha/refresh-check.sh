#!/bin/sh
# Refuses new user-data that etcd would not start with, or that would hurt the
# cluster. The last line of stdout says why.
set -eu
# Only the stage holds what is new: the rest is this machine's.
unset PGHA_ETC PGHA_RUN PGHA_STATE
exec "${PGHA_LIB:-/usr/lib/pgha}/etcd_refresh.py" check "$1"
