#!/bin/sh
# patroni-secrets.sh FOLDER: writes there, for Patroni to merge with the rest,
# what comes from the secrets in force. As a file and not as environment, which
# Patroni reads only when it starts. The REST API's certificate and authority
# have the names of this version of them: Patroni looks again at files with
# other names, but not at a cafile with other content, and so never takes a
# certificate with the key of another. The last line says what is wrong.
set -eu
umask 077
run=${PGHA_RUN:-/run/pgha}
version=$(readlink -f "$run/secrets")
file=$1/25-secrets.yml

# JSON is YAML. A password is letters and digits: anything else is refused, and
# not said.
if ! jq -nR --arg version "$version" '
	[inputs | capture("^PATRONI_(?<key>SUPERUSER|REPLICATION|REWIND|RESTAPI)_PASSWORD=(?<value>[A-Za-z0-9]+)$") // error("")] |
	if (map(.key) | sort) != ["REPLICATION", "RESTAPI", "REWIND", "SUPERUSER"] then error("") else . end |
	from_entries | {
		restapi: {
			certfile: "\($version)/node.crt", keyfile: "\($version)/node.key", cafile: "\($version)/ca.crt",
			authentication: {password: .RESTAPI}
		},
		postgresql: {authentication: {
			superuser: {password: .SUPERUSER}, replication: {password: .REPLICATION}, rewind: {password: .REWIND}
		}}
	}' <"$version/patroni.env" >"$file.new" 2>/dev/null; then
	rm -f "$file.new"
	echo 'secret patroni.env is not four passwords of letters and digits: run pgha-gen secrets generate, and what it says next'
	exit 1
fi
chgrp "$(id -g "${PGHA_SERVICE_USER:-postgres}")" "$file.new"
chmod 0640 "$file.new"
mv "$file.new" "$file"
