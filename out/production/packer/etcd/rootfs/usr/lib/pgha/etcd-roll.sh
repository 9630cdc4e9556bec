#!/bin/sh
# Restarts etcd on this machine as soon as that interrupts nobody. Status 75: not
# yet. The last line of stdout says why, or what was done.
exec "${PGHA_LIB:-/usr/lib/pgha}/etcd_roll.py"
