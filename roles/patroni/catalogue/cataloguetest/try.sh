#!/bin/sh
# try.sh POSTGRES FILE: says whether this server takes each parameter and value of
# the file. A line is a pair with a tab between them; it is printed again with yes
# or no behind it. Parameters that the server does not have are left out. Needs no
# data directory, and starts no server.
set -eu
postgres=$1
file=$2
data=$(mktemp -d)
trap 'rm -rf "$data"' EXIT
: >"$data/postgresql.conf"
last=
has=
tab=$(printf '\t')
while IFS=$tab read -r name value; do
	if [ "$name" != "$last" ]; then
		last=$name
		has=no
		if "$postgres" -C "$name" -D "$data" >/dev/null 2>&1; then
			has=yes
		fi
	fi
	if [ "$has" = no ]; then
		continue
	fi
	if "$postgres" -C "$name" -D "$data" -c "$name=$value" >/dev/null 2>&1; then
		takes=yes
	else
		takes=no
	fi
	printf '%s\t%s\t%s\n' "$name" "$value" "$takes"
done <"$file"
