#!/bin/sh
# The image of an etcd node.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source-path=SCRIPTDIR source=../../packer/base.sh
. "$here/base.sh"

# fetch URL: downloads the archive and checks its sum, or gives the reason in
# $trouble. After a wrong sum it tries again: most often the download was cut
# short.
fetch() {
	for left in 2 1 0; do
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
		rm -f "$archive"
		if [ "$left" -gt 0 ]; then
			step "download it again: $trouble"
			sleep 2
		fi
	done
	return 1
}

begin "$here"
account etcd 541 /var/lib/etcd

step 'install the packages'
install_packages iproute2 # ss, for etcd-stop.sh

step "download etcd $ETCD_VERSION"
archive=$work/etcd.tar.gz
if [ -z "${ETCD_MIRROR:-}" ] || ! fetch "$ETCD_MIRROR"; then
	if ! fetch "$ETCD_URL"; then
		stop "there is no etcd to install: $trouble"
	fi
fi

step "install etcd $ETCD_VERSION"
tar -xzf "$archive" -C "$work" --strip-components=1 --no-same-owner --wildcards --no-wildcards-match-slash '*/etcd' '*/etcdctl' '*/etcdutl'
rm "$archive"
for program in etcd etcdctl etcdutl; do
	install -o root -g root -m 0755 "$work/$program" "/usr/bin/$program"
	rm "$work/$program"
done
found=$(etcd --version 2>&1 | sed -n 's/^etcd Version: //p') || found=
if [ "$found" != "$ETCD_VERSION" ]; then
	stop "the archive holds etcd ${found:-for another processor}, not $ETCD_VERSION for $(uname -m): correct roles.etcd.artifacts"
fi
for program in etcd etcdctl etcdutl; do
	component_program "$program" "$ETCD_VERSION" "/usr/bin/$program" "pkg:github/etcd-io/etcd@v$ETCD_VERSION#$program"
done

deliver etcd.service
