#!/bin/sh
# After etcd has ended: says so where nobody asked for it, and it does not start again.
set -eu
# shellcheck source-path=SCRIPTDIR source=../../../../../../packer/rootfs/usr/lib/pgha/step.sh
. "${PGHA_LIB:-/usr/lib/pgha}/step.sh"
read_identity etcd
if [ "${EXIT_CODE:-} ${EXIT_STATUS:-}" = 'exited 0' ]; then
	rm -f "$PGHA_RUN/ready"
	say etcd fail "the cluster has removed this member, so etcd stays stopped: if the spec has no $NODE_NAME any more, delete this machine; if its disk is an old one, attach an empty one and start it again"
fi
