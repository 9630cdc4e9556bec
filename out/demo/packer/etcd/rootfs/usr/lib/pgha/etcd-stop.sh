#!/bin/sh
# Before etcd is stopped: resets the connections of its clients, and lets none in. What
# etcd is asked while it stops it answers with status 500 and the code of an unknown
# error. Patroni takes that for a refusal, not for a member that is away: a leader that
# is refused its lease restarts PostgreSQL. After a reset it asks the next member.
set -eu
# shellcheck source-path=SCRIPTDIR source=../../../../../../packer/rootfs/usr/lib/pgha/step.sh
. "${PGHA_LIB:-/usr/lib/pgha}/step.sh"
read_identity etcd
nft -f "$PGHA_LIB/etcd-stop.nft"
# Not what etcd asks itself, for the clients that it still has.
ss --tcp --kill --no-header state connected "sport = :2379 and not dst $NODE_ADDRESS and not dst 127.0.0.1"
