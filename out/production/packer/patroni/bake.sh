#!/bin/sh
# The image of a Patroni node: PostgreSQL, and no cluster of it.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source-path=SCRIPTDIR source=../../packer/base.sh
. "$here/base.sh"

key=/usr/share/postgresql-common/pgdg/apt.postgresql.org.asc
sources=/etc/apt/sources.list.d/pgdg.sources
fingerprint=b97b0afcaa1a47f044f244a07fcc7d46accc4cf8

# key_fingerprint FILE: of the first key in it. It is the SHA-1 of that packet
# (RFC 4880, 12.2), so that the image needs no gpg.
key_fingerprint() {
	awk '/^$/ { body = 1; next } /^=/ || /^-----END/ { body = 0 } body' "$1" | base64 -d >"$work/key"
	od -An -tu1 -N3 "$work/key" >"$work/head"
	read -r tag high low <"$work/head"
	if [ "$tag" != 153 ]; then
		return 1
	fi
	head -c $((high * 256 + low + 3)) "$work/key" | sha1sum | cut -d ' ' -f 1
}

# use_pgdg: PostgreSQL's own repository, by the key that the distribution's
# postgresql-common brings.
use_pgdg() {
	if ! [ -r "$key" ]; then
		stop "the distribution's postgresql-common has no $key: use apt_repository distribution"
	fi
	found=$(key_fingerprint "$key") || found='none that can be read'
	if [ "$found" != "$fingerprint" ]; then
		stop "the key in $key has fingerprint $found, but $fingerprint is expected"
	fi
	cat >"$sources" <<END
Types: deb
URIs: ${APT_MIRROR:-https://apt.postgresql.org/pub/repos/apt}
Suites: $VERSION_CODENAME-pgdg
Components: main
Signed-By: $key
END
	own "$sources"
	refresh "$sources"
}

begin "$here"
account postgres 540 /var/lib/postgresql

case $APT_REPOSITORY in
pgdg | distribution) ;;
*) stop "APT_REPOSITORY is \"$APT_REPOSITORY\": say pgdg or distribution" ;;
esac

# Before PostgreSQL is installed, or its package makes a cluster.
mkdir -p /etc/postgresql-common/createcluster.d
echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.d/pgha.conf
own /etc/postgresql-common/createcluster.d/pgha.conf
# And before pgBackRest is, or its package starts the server.
systemctl mask --quiet postgresql.service postgresql@.service pgbackrest.service

if [ "$APT_REPOSITORY" = pgdg ]; then
	step 'install postgresql-common'
	install_packages postgresql-common
	step 'add the PostgreSQL repository'
	use_pgdg
fi

step "install PostgreSQL $POSTGRESQL_MAJOR and Patroni"
server=postgresql-$POSTGRESQL_MAJOR
if ! apt-cache show "$server" >/dev/null 2>&1; then
	stop "there is no $server in the $APT_REPOSITORY repository of $ID $base_version: choose another version, or the other apt_repository"
fi
install_packages "$server=${POSTGRESQL_VERSION:-}" "postgresql-client-$POSTGRESQL_MAJOR=${POSTGRESQL_VERSION:-}" \
	"patroni=${PATRONI_VERSION:-}" "pgbackrest=${PGBACKREST_VERSION:-}" \
	python3-etcd python3-systemd python3-psycopg2
hold "$server" "postgresql-client-$POSTGRESQL_MAJOR" patroni pgbackrest
# The package gives it to postgres, and a program of root reads it at boot.
chown -R root:root /etc/postgresql
# Packages let postgres write pgBackRest's configuration, and folders in which
# logrotate works as root. None is used: the journal has what both say.
rm -f /etc/pgbackrest.conf /etc/logrotate.d/pgbackrest /etc/logrotate.d/postgresql-common
rm -rf /var/log/pgbackrest
component_package postgresql "$server"
component_package patroni patroni
component_package pgbackrest pgbackrest
component_package python3 python3

deliver patroni.service
