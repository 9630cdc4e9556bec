#!/bin/sh
# secrets-apply.sh FILE...: these secrets have changed. etcd reads certificates
# and keys at each handshake, and its authorities only when it starts: then it
# is restarted when that interrupts nobody. The last line says what happened.
# Status 75: not yet.
set -eu
for file; do
	if [ "$file" = ca.crt ]; then
		exec "${PGHA_LIB:-/usr/lib/pgha}/etcd-roll.sh"
	fi
done
echo 'etcd reads them at each handshake'
