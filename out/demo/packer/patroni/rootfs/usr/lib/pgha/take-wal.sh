#!/bin/sh
# take-wal.sh FOLDER SEGMENT: takes a segment of WAL from the archive for a server that
# runs with these data. It is whole as soon as it has its name.
set -eu
umask 077
cd "$1/pg_wal"
rm -f -- *.taken # of one that was killed, or at which the power failed
new=$2.taken
trap 'rm -f -- "$new"' EXIT
"${PGHA_LIB:-/usr/lib/pgha}/pgbackrest.sh" own --log-level-console=error --io-timeout=15 archive-get "$2" "$PWD/$new"
sync -- "$new"
mv -- "$new" "$2"
sync -- .
: >"archive_status/$2.done" # once this node leads, it need not archive that again
