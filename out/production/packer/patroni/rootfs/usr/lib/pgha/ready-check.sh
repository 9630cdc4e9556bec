#!/bin/sh
# Ready: PostgreSQL runs on this node, as leader or as replica. The last line
# says what it is, or what is missing.
set -eu
# shellcheck source-path=SCRIPTDIR source=../../../../../../packer/rootfs/usr/lib/pgha/step.sh
. "${PGHA_LIB:-/usr/lib/pgha}/step.sh"
trap - EXIT # what this finds is ready.sh's to say
read_cluster ready
read_identity ready

# By its name, which is in its certificate; its address need not be.
if ! answer=$(curl -q -s --noproxy '*' --max-time 5 --cacert "$PGHA_RUN/secrets/ca.crt" \
	--resolve "$NODE_FQDN:$PGHA_REST_PORT:$NODE_ADDRESS" "https://$NODE_FQDN:$PGHA_REST_PORT/patroni"); then
	echo "Patroni does not answer on $NODE_ADDRESS:$PGHA_REST_PORT"
	exit 1
fi
state=$(printf '%s' "$answer" | jq -r '"\(.role // "no role yet") \(.state // "unknown")"')
case $state in
*' running' | *' streaming')
	echo "PostgreSQL: $state"
	;;
*)
	echo "PostgreSQL is not there yet: $state"
	exit 1
	;;
esac
