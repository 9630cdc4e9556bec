#!/bin/sh
# Ready: this member answers, and has a quorum. The last line says so, or why not.
set -eu
# shellcheck source-path=SCRIPTDIR source=../../../../../../packer/rootfs/usr/lib/pgha/step.sh
. "${PGHA_LIB:-/usr/lib/pgha}/step.sh"
trap - EXIT # what this finds is ready.sh's to say

node=$PGHA_RUN/etcd/node.env
if ! [ -r "$node" ]; then
	echo 'etcd has not been started: see what etcd-join says'
	exit 1
fi
if ! read_values "$node" ETCD_ADVERTISE_CLIENT_URLS ||
	! read_values "${PGHA_ETCD_ENV:-/etc/etcd/etcd.env}" ETCD_INITIAL_CLUSTER; then
	echo "etcd's settings hold the line \"$values_line\", which etcd-join did not write"
	exit 1
fi

ctl() {
	# The advertised name and not 127.0.0.1, which no certificate holds.
	no_proxy='*' etcdctl --endpoints "$ETCD_ADVERTISE_CLIENT_URLS" --dial-timeout 2s --command-timeout 5s \
		--cacert "$PGHA_RUN/secrets/ca.crt" --cert "$PGHA_RUN/secrets/server.crt" --key "$PGHA_RUN/secrets/server.key" "$@" 2>&1
}

if ! errors=$(ctl endpoint health); then
	# The last line only repeats that there was an error.
	errors=$(printf '%s\n' "$errors" | grep 'is unhealthy' | tail -n 1) || errors=
	printf '%s\n' "${errors:-$ETCD_ADVERTISE_CLIENT_URLS does not answer}"
	exit 1
fi

# A member that was taken out of the spec still votes.
extra=$(ctl member list --write-out simple | awk -F ', ' -v spec="$ETCD_INITIAL_CLUSTER" '
	BEGIN { n = split(spec, pairs, /[=,]/); for (i = 2; i <= n; i += 2) wanted[pairs[i]] = 1 }
	NF >= 4 && !($4 in wanted) { printf "%s%s", comma, $3 == "" ? $1 : $3; comma = ", " }') || extra=
echo "etcd answers at $ETCD_ADVERTISE_CLIENT_URLS${extra:+; not in the spec, and still a voter: $extra}"
