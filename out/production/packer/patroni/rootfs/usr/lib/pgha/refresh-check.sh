#!/bin/sh
# refresh-check.sh STAGE: would Patroni and PostgreSQL take new user-data, and is
# the node that leads still in it? Its files are below STAGE. The last line says
# why not.
set -eu
# shellcheck source-path=SCRIPTDIR source=../../../../../../packer/rootfs/usr/lib/pgha/step.sh
. "${PGHA_LIB:-/usr/lib/pgha}/step.sh"
trap - EXIT # what this finds is refresh.py's to say
read_cluster refresh

# leader: the node that leads, as this node's Patroni says; nothing if it does not
# answer.
leader() {
	PGHA_RUN=${1%/*} # that of STAGE is not this machine's
	read_identity refresh
	curl -q -s --noproxy '*' --max-time 3 --cacert "$PGHA_RUN/secrets/ca.crt" \
		--resolve "$NODE_FQDN:$PGHA_REST_PORT:$NODE_ADDRESS" "https://$NODE_FQDN:$PGHA_REST_PORT/cluster" |
		jq -r '.members[] | select(.role == "leader") | .name'
}

if [ -z "${PGHA_BOOTING:-}" ]; then
	leads=$(leader "$1" 2>/dev/null) || leads=
	for node in $PGHA_NODES; do
		if [ "${node%%=*}" = "$leads" ]; then
			leads=
		fi
	done
	if [ -n "$leads" ]; then
		echo "$leads leads and is not in the new spec: switch over first"
		exit 1
	fi
fi
exec "$PGHA_LIB/check_parameters.py" "$1"
