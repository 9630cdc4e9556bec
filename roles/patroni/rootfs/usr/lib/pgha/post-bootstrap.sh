#!/bin/sh
# Patroni calls this once, on the node that bootstraps the cluster, with a
# connection string. It creates the databases and users of the spec. A failure
# undoes the bootstrap, and Patroni tries again.
set -eu
connection=$1
lib=${PGHA_LIB:-/usr/lib/pgha}
secrets=${PGHA_RUN:-/run/pgha}/secrets
wanted=${PGHA_PATRONI_ETC:-/etc/patroni}/databases.json

# The passwords go from file to psql's variable by pipes alone: never as an
# argument, where ps would show them, nor as a file on a disk.
users() {
	jq -r '.users[].name' "$wanted" | while IFS= read -r name; do
		jq -c --arg name "$name" --rawfile password "$secrets/password.$name" \
			'.users[] | select(.name == $name) | . + {password: ($password | rtrimstr("\n"))}' "$wanted"
	done | jq -c -s .
}

# psql reads "\set users" as text between its own quotes: a quote doubles, a
# backslash too.
quoted() {
	sed "s/\\\\/\\\\\\\\/g; s/'/\\\\'/g; s/^/'/; s/\$/'/"
}

{
	printf '%s ' '\set users' && users | quoted
	printf '%s ' '\set databases' && jq -c .databases "$wanted" | quoted
	jq -r '"\\set administrator \(.administrator)"' "$wanted"
	cat "$lib/post-bootstrap.sql"
} | psql --no-psqlrc --no-password --quiet --file=- "$connection"
