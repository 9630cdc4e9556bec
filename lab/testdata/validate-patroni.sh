#!/bin/sh
# Runs in a patroni image without network: etcd as the rendered etcd.env starts
# it, then Patroni's own check of the rendered configuration against it. Says
# what Patroni complains of, and nothing else.
set -eu
mkdir -p /run/pgha/secrets /run/etcd /run/patroni
cp /run/judge/*.crt /run/judge/*.key /run/judge/patroni.env /run/pgha/secrets/
chown -R postgres /run/pgha /run/patroni
# The addresses of the example's nodes, all on this machine.
for address in 10.128.0.26 10.128.0.11 10.128.0.31 10.128.0.21; do
	ip address add "$address/32" dev lo
done

# The member as etcd-join.sh starts it, in a cluster of one.
set -a
# shellcheck source=/dev/null
. /run/judge/etcd.env
set +a
export ETCD_NAME=demo-etcd-1
export ETCD_DATA_DIR=/run/etcd/data
export ETCD_INITIAL_CLUSTER=demo-etcd-1=https://10.128.0.26:2380
export ETCD_INITIAL_ADVERTISE_PEER_URLS=https://10.128.0.26:2380
export ETCD_LISTEN_PEER_URLS=https://10.128.0.26:2380
export ETCD_LISTEN_CLIENT_URLS=https://10.128.0.26:2379,https://10.128.0.11:2379,https://10.128.0.31:2379
export ETCD_ADVERTISE_CLIENT_URLS=https://10.128.0.26:2379
: >/run/etcd/log # the shell in the background may come to it late
etcd >>/run/etcd/log 2>&1 &
etcd=$!
trap 'kill $etcd; wait' EXIT
tries=0
until grep -q 'ready to serve client requests' /run/etcd/log; do
	tries=$((tries + 1))
	if [ $tries -gt 100 ] || ! kill -0 $etcd; then
		cat /run/etcd/log
		exit 1
	fi
	sleep 0.1
done
# etcd only logs a variable that it does not know.
grep -o 'unrecognized environment variable[^}]*' /run/etcd/log || :

export PATRONI_NAME=demo-pg-1
export PATRONI_POSTGRESQL_LISTEN=10.128.0.21:5432
export PATRONI_POSTGRESQL_CONNECT_ADDRESS=10.128.0.21:5432
export PATRONI_RESTAPI_LISTEN=10.128.0.21:8008
export PATRONI_RESTAPI_CONNECT_ADDRESS=10.128.0.21:8008
install -d -o postgres -m 0700 /var/lib/postgresql/18
mkdir /run/patroni/config
cp /run/judge/config.yml /run/patroni/config/10-cluster.yml
/usr/lib/pgha/patroni-secrets.sh /run/patroni/config
cp /run/judge/bootstrap.yml /run/patroni/config/30-bootstrap.yml
setpriv --reuid=postgres --regid=postgres --init-groups \
	patroni --validate-config /run/patroni/config 2>&1 || :
