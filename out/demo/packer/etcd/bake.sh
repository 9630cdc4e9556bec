#!/bin/sh
# The image of an etcd node.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source-path=SCRIPTDIR source=../../packer/base.sh
. "$here/base.sh"

# fetch URL: the archive, proved by its sum, or the reason in $trouble. A sum
# that is wrong is tried again: most often the download was cut short.
fetch() {
	tries=1
	while [ "$tries" -le 3 ]; do
		if errors=$(curl -q -sS -f -L --connect-timeout 10 --max-time 600 -o "$archive" "$1" 2>&1); then
			sum=$(sha256sum "$archive")
			sum=${sum%% *}
			if [ "$sum" = "$ETCD_SHA256" ]; then
				return 0
			fi
			trouble="$1 has sha256 $sum, but $ETCD_SHA256 is expected"
		elif ! has_room "$work"; then
			stop "cannot download $1: the disk is full at $work; give the build machine a larger one"
		else
			trouble="$1 cannot be downloaded ($errors)"
		fi
		printf 'bake: %s\n' "$trouble" >&2
		rm -f "$archive"
		tries=$((tries + 1))
		sleep 2
	done
	return 1
}

begin "$here"

step "download etcd $ETCD_VERSION"
archive=$work/etcd.tar.gz
if [ -z "${ETCD_MIRROR:-}" ] || ! fetch "$ETCD_MIRROR"; then
	if ! fetch "$ETCD_URL"; then
		stop "there is no etcd to install: $trouble"
	fi
fi

step "install etcd $ETCD_VERSION"
for program in etcd etcdctl etcdutl; do
	tar -xzf "$archive" -O --wildcards "*/$program" >"$work/$program"
	install -o root -g root -m 0755 "$work/$program" "/usr/bin/$program"
	rm "$work/$program"
done
rm "$archive"
found=$(etcd --version 2>&1 | sed -n 's/^etcd Version: //p') || found=
if [ "$found" != "$ETCD_VERSION" ]; then
	stop "the archive holds etcd ${found:-for another processor}, not $ETCD_VERSION for $(uname -m): correct roles.etcd.artifacts"
fi
sum=$(sha256sum /usr/bin/etcd)
component etcd "$ETCD_VERSION" "${sum%% *}"

deliver etcd.service
