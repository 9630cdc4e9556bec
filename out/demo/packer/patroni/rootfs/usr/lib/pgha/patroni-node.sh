#!/bin/sh
# Who this Patroni node is: its addresses as environment, its tags as a file
# beside the cluster's. No YAML is made here; Patroni merges the files of a folder.
set -eu
# shellcheck source-path=SCRIPTDIR source=../../../../../../packer/rootfs/usr/lib/pgha/step.sh
. "${PGHA_LIB:-/usr/lib/pgha}/step.sh"
PGHA_PATRONI_ETC=${PGHA_PATRONI_ETC:-/etc/patroni}
PGHA_PATRONI_RUN=${PGHA_PATRONI_RUN:-/run/patroni}
read_cluster patroni-node
read_identity patroni-node

if [ -n "${PGHA_DATA_DEVICE:-}" ] && ! mountpoint -q "$PGHA_DATA_MOUNT"; then
	fail patroni-node "the data disk is not mounted on $PGHA_DATA_MOUNT: see what pgha-disk said"
fi
# initdb wants to make its directory itself; the one above must be there.
install -d -o "$PGHA_SERVICE_USER" -g "$PGHA_SERVICE_USER" -m 0700 "$(dirname "$PGHA_PGDATA")"

config=$PGHA_PATRONI_RUN/config
rm -rf "$config.new"
mkdir "$config.new"
ln -s "$PGHA_PATRONI_ETC/config.yml" "$config.new/10-cluster.yml"
if [ -e "$PGHA_PATRONI_ETC/nodes/$NODE_NAME.yml" ]; then
	ln -s "$PGHA_PATRONI_ETC/nodes/$NODE_NAME.yml" "$config.new/20-node.yml"
fi
rm -rf "$config"
mv "$config.new" "$config"

host=$NODE_ADDRESS
if [ "$PGHA_REACHED_BY" = name ]; then
	host=$NODE_FQDN
fi
{
	printf 'PATRONI_NAME=%s\n' "$NODE_NAME"
	printf 'PATRONI_POSTGRESQL_LISTEN=%s:%s\n' "$NODE_ADDRESS" "$PGHA_POSTGRESQL_PORT"
	printf 'PATRONI_POSTGRESQL_CONNECT_ADDRESS=%s:%s\n' "$host" "$PGHA_POSTGRESQL_PORT"
	printf 'PATRONI_RESTAPI_LISTEN=%s:%s\n' "$NODE_ADDRESS" "$PGHA_REST_PORT"
	printf 'PATRONI_RESTAPI_CONNECT_ADDRESS=%s:%s\n' "$host" "$PGHA_REST_PORT"
} >"$PGHA_PATRONI_RUN/node.env.new"
mv "$PGHA_PATRONI_RUN/node.env.new" "$PGHA_PATRONI_RUN/node.env"
say patroni-node ok "$NODE_NAME at $host:$PGHA_POSTGRESQL_PORT"
