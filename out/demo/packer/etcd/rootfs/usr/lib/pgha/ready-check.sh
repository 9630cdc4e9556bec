#!/bin/sh
# Does this member answer, and with a quorum? The last line says it, or why not.
set -eu
PGHA_RUN=${PGHA_RUN:-/run/pgha}
PGHA_ETCD_RUN=${PGHA_ETCD_RUN:-/run/etcd}

if ! [ -r "$PGHA_ETCD_RUN/node.env" ]; then
	echo 'etcd has not been started: see what etcd-join says'
	exit 1
fi
# shellcheck source=/dev/null
. "$PGHA_ETCD_RUN/node.env"

# The advertised name and not 127.0.0.1, which no certificate holds.
if ! errors=$(no_proxy='*' etcdctl --endpoints "$ETCD_ADVERTISE_CLIENT_URLS" --dial-timeout 2s --command-timeout 5s \
	--cacert "$PGHA_RUN/secrets/ca.crt" --cert "$PGHA_RUN/secrets/server.crt" --key "$PGHA_RUN/secrets/server.key" \
	endpoint health 2>&1); then
	# The last line only repeats that there was an error.
	errors=$(printf '%s\n' "$errors" | grep 'is unhealthy' | tail -n 1) || errors=
	printf '%s\n' "${errors:-$ETCD_ADVERTISE_CLIENT_URLS does not answer}"
	exit 1
fi
echo "etcd answers at $ETCD_ADVERTISE_CLIENT_URLS"
