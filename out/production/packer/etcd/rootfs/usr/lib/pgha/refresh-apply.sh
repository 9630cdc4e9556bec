#!/bin/sh
# Makes etcd use its new settings, and its cluster have the spec's members.
# Status 75: not yet. The last line of stdout says why, or what was done.
exec "${PGHA_LIB:-/usr/lib/pgha}/etcd_refresh.py" apply
