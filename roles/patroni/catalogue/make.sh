#!/bin/sh
# make.sh [SUITE...]: writes data/<major>.csv, data/<major>-libraries.csv and
# data/<major>-extensions.csv from the PostgreSQL of each Debian suite. As root,
# with mmdebstrap: it installs the package into a root of its own, asks the
# server there, and leaves no root behind. A minute a suite.
set -eu
cd "$(dirname "$0")"

PGHA_CATALOGUE=$PWD/data
export PGHA_CATALOGUE

if [ $# = 0 ]; then
	set -- bookworm trixie forky
fi
for suite in "$@"; do
	echo "catalogue: PostgreSQL of $suite" >&2
	# A mirror may lag behind the expiry date of its release file. Hooks get the
	# root as $1.
	# shellcheck disable=SC2016
	mmdebstrap --quiet --variant=apt --format=null --include=postgresql \
		--aptopt='Acquire::Check-Valid-Until "false"' \
		--customize-hook='copy-in ask.sh ask.sql /tmp' \
		--customize-hook='chroot "$1" sh /tmp/ask.sh' \
		--customize-hook='cp "$1"/tmp/catalogue/*.csv "$PGHA_CATALOGUE/"' \
		"$suite" /dev/null
done
