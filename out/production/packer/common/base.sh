# shellcheck shell=sh
# What every bake does, whatever the role. bake.sh sources this file, and it
# seal.sh; both lie beside bake.sh, as does rootfs/, the files that go into
# the image. A bake may be run again on its own result.

umask 022
export DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l
export LC_ALL=C.UTF-8
manifest=/usr/lib/pgha/manifest.json
sbom=/usr/lib/pgha/sbom.cdx.json
user_data=/etc/pgha/cluster.env
os_release=/etc/os-release
system=/etc/systemd/system
user=
home=
components=
held=
owned=
doing='start'
said=
quieted=
work=

# stop SENTENCE: the one line that says why there is no image.
stop() {
	said=yes
	printf 'bake: %s\n' "$1" >&2
	exit 1
}

step() {
	doing=$1
	printf 'bake: %s\n' "$1"
}

# has_room DIRECTORY: 16 MiB; less is a full disk to every program.
has_room() {
	[ "$(df -Pk "$1" | awk 'NR == 2 { print $4 }')" -ge 16384 ]
}

at_exit() {
	status=$1
	if [ -n "$quieted" ]; then
		rm -f /usr/sbin/policy-rc.d
	fi
	if [ -n "$work" ]; then
		rm -rf "$work"
	fi
	if [ "$status" = 0 ] || [ -n "$said" ]; then
		return
	fi
	for place in / /var /tmp; do
		if ! has_room "$place"; then
			stop "cannot $doing: the disk is full at $place; give the build machine a larger one"
		fi
	done
	stop "cannot $doing (status $status): the lines above say why"
}

# begin DIRECTORY: makes of a plain system one in which packages can be
# installed and no service starts by itself.
begin() {
	here=$1
	# shellcheck source-path=SCRIPTDIR source=seal.sh
	. "$here/seal.sh"
	trap 'at_exit $?' EXIT
	trap 'exit 130' INT TERM
	refuse_misfits
	if [ -d /run/systemd/system ] && command -v cloud-init >/dev/null; then
		step 'wait for cloud-init of the build machine'
		timeout 300 cloud-init status --wait >/dev/null 2>&1 || :
	fi
	step 'keep the system from changing by itself'
	quiet
	work=$(mktemp -d /var/tmp/pgha-bake.XXXXXX)
	step 'refresh the package lists'
	refresh all
	step 'take the updates of the base image'
	apt_get upgrade
}

# account NAME NUMBER HOME: makes the user and group of the role's service,
# always with the same number, because the data disk outlives the image. To be
# called before the packages are installed: they would take the first free
# number.
account() {
	doing="make the user $1"
	user=$1
	home=$3
	for kind in passwd group; do
		has=$(getent "$kind" "$1" | cut -d : -f 3)
		taken=$(getent "$kind" "$2" | cut -d : -f 1)
		if [ "${has:-$2}" != "$2" ] || [ "${taken:-$1}" != "$1" ]; then
			stop "the base image has another user or group $1, or another with the number $2: choose a plain base image"
		fi
	done
	if [ -z "$has" ]; then
		groupadd --system --gid "$2" "$1"
	fi
	if ! getent passwd "$1" >/dev/null; then
		useradd --system --uid "$2" --gid "$2" --home-dir "$3" --no-create-home --shell /usr/sbin/nologin "$1"
	fi
}

refuse_misfits() {
	for name in PGHA_ROLE PGHA_CONTRACT PGHA_ARCHITECTURE PGHA_REQUIRES PGHA_RECIPE; do
		eval "value=\${$name:-}"
		if [ -z "$value" ]; then
			stop "$name is not set: run the bake by the template that was generated with it"
		fi
	done
	if [ "$(id -u)" != 0 ]; then
		stop 'the bake changes the system: run it as root'
	fi
	if ! [ -r "$os_release" ]; then
		stop 'this is no known system: bake on Ubuntu 24.04 or Debian 12 or later'
	fi
	# shellcheck source=/dev/null
	. "$os_release"
	# Debian's testing has a code name and no number.
	base_version=${VERSION_ID:-${VERSION_CODENAME:-}}
	case $ID:$base_version in
	ubuntu:24.04 | debian:1[2-9] | debian:[2-9][0-9] | debian:[a-z]*) ;;
	*) stop "this is $ID $base_version: bake on Ubuntu 24.04 or Debian 12 or later" ;;
	esac
	if [ "$(dpkg --print-architecture)" != "$PGHA_ARCHITECTURE" ]; then
		stop "this machine is $(dpkg --print-architecture), the recipe is for $PGHA_ARCHITECTURE: change images.architecture"
	fi
	if [ -e "$user_data" ]; then
		stop 'this machine is a node of a cluster: bake on a machine of its own'
	fi
	if [ -e "$manifest" ]; then
		baked=$(sed -n 's/^ *"role": *"\([a-z0-9-]*\)".*/\1/p' "$manifest")
		if [ "$baked" != "$PGHA_ROLE" ]; then
			stop "this image was baked for role $baked: bake role $PGHA_ROLE from the plain base image"
		fi
	fi
	if ! command -v cloud-init >/dev/null; then
		stop 'there is no cloud-init in the base image: choose a cloud image'
	fi
}

# quiet: no timer takes apt's lock, and no package starts its service, which
# would make two bakes differ. To be called before apt is.
quiet() {
	for unit in apt-daily apt-daily-upgrade; do
		systemctl mask --quiet "$unit.timer" "$unit.service"
	done
	systemctl mask --quiet unattended-upgrades.service
	if [ -d /run/systemd/system ]; then
		systemctl stop apt-daily.timer apt-daily-upgrade.timer unattended-upgrades.service 2>/dev/null || :
	fi
	mkdir -p /etc/needrestart/conf.d
	# needrestart's file is Perl.
	# shellcheck disable=SC2016
	printf '%s\n' '$nrconf{restart} = "l";' >/etc/needrestart/conf.d/pgha.conf
	own /etc/needrestart/conf.d/pgha.conf
	quieted=yes
	printf '%s\n' '#!/bin/sh' 'exit 101' >/usr/sbin/policy-rc.d
	chmod 0755 /usr/sbin/policy-rc.d
	if dpkg-query -W -f '${db:Status-Abbrev}' snapd 2>/dev/null | grep -q '^ii'; then
		apt_get purge --auto-remove snapd
		rm -rf /snap /var/snap /var/lib/snapd /var/cache/snapd /root/snap
	fi
}

# apt_get ARGUMENT...: a bake that is cut short starts again from the base
# image, so dpkg need not wait for the disk; descriptions of packages are not
# fetched.
apt_get() {
	apt-get -q -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o Acquire::http::Timeout=30 \
		-o Acquire::Languages=none -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-unsafe-io \
		-o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@"
}

# refresh all|FILE: reads the lists of every source of packages, or those of
# one file. Without Error-Mode a mirror that is down is only a warning. It is
# tried twice: a mirror that is being updated does not fit its own index for a
# while.
refresh() {
	again=yes
	file=$1
	set -- -o APT::Update::Error-Mode=any
	if [ "$file" != all ]; then
		set -- "$@" -o Dir::Etc::sourcelist="$file" -o Dir::Etc::sourceparts=- -o APT::Get::List-Cleanup=false
	fi
	until apt_get "$@" update; do
		if [ -z "$again" ]; then
			if ! has_room /var; then
				stop 'cannot refresh the package lists: the disk is full at /var; give the build machine a larger one'
			fi
			stop 'cannot refresh the package lists: a package mirror does not answer (the lines above name it)'
		fi
		again=
		sleep 5
	done
}

# install_packages PACKAGE[=VERSION]...: VERSION is upstream's, to which the
# distribution appends its own; without one, the newest is installed. What
# every image needs is installed in the same run of apt, which saves a second.
install_packages() {
	set -- curl jq e2fsprogs openssl ca-certificates util-linux nftables "$@"
	for package in "$@"; do
		shift
		case $package in
		*=?*) resolve "${package%%=*}" "${package#*=}" ;;
		*) resolved=${package%=} ;;
		esac
		set -- "$@" "$resolved"
	done
	apt_get install --no-install-recommends --allow-change-held-packages "$@"
}

# resolve PACKAGE VERSION: the package in the distribution's version, in
# $resolved.
resolve() {
	offered=$(apt-cache madison "$1" | awk -F ' *[|] *' '{ print $2 }')
	exact=$(printf '%s\n' "$offered" | awk -v v="$2" 'index($0, v "-") == 1 || index($0, v "+") == 1 || $0 == v { print; exit }')
	if [ -z "$exact" ]; then
		stop "there is no version $2 of $1 (any more): the package lists have $(printf '%s' "${offered:-none}" | tr '\n' ' '); change the version in the spec, or bake from a mirror that keeps it"
	fi
	resolved=$1=$exact
}

# hold PACKAGE...: no later upgrade changes them.
hold() {
	apt-mark hold "$@" >/dev/null
	held="$held $*"
}

# component NAME VERSION [SHA256 PATH PURL]: adds a component to the manifest.
component() {
	components="$components$1	$2	${3:-}	${4:-}	${5:-}
"
}

# component_package NAME PACKAGE
component_package() {
	component "$1" "$(dpkg-query -W -f '${Version}' "$2")"
}

# component_program NAME VERSION PATH PURL: for a program of no package.
component_program() {
	sum=$(sha256sum "$3")
	component "$1" "$2" "${sum%% *}" "$3" "$4"
}

# own FILE: names a file that the bake wrote, for the bill of materials.
own() {
	owned="$owned$1
"
}

# copy_rootfs: copies rootfs/ into the image. The upload has lost the modes.
copy_rootfs() {
	(cd "$here/rootfs" && find . -type f) | while IFS= read -r path; do
		mode=0644
		if [ "$(head -c 2 "$here/rootfs/$path")" = '#!' ]; then
			mode=0755
		fi
		install -D -o root -g root -m "$mode" "$here/rootfs/$path" "/$path"
	done
}

# require NAME>=VERSION, or NAME<VERSION: refuses another version of a
# component. A machine would refuse to start from such an image (contract.sh).
require() {
	name=${1%%[<>]*}
	relation=lt
	case $1 in
	*'>='*) relation=ge ;;
	esac
	found=$(printf '%s' "$components" | awk -F '\t' -v name="$name" '$1 == name { print $2 }')
	if [ -z "$found" ] || ! dpkg --compare-versions "$found" "$relation" "${1##*[<>=]}"; then
		stop "this is $name ${found:-(none)}, but the cluster needs $1: choose another version, or bake from another base or repository"
	fi
}

# deliver SERVICE: what follows the packages, up to the sealed image. Only
# pgha.target starts SERVICE: multi-user.target would start it before its
# secrets are there, and wait for it.
deliver() {
	service=$1
	for requirement in $PGHA_REQUIRES; do
		require "$requirement"
	done
	step 'copy the files of the image'
	copy_rootfs
	step 'enable the service'
	systemctl disable --quiet "$service" 2>/dev/null || :
	systemctl add-wants --quiet pgha.target "$service"
	step 'write the manifest and the bill of materials'
	write_manifest
	write_sbom
	step 'seal the image'
	seal
	quieted=
	step 'verify the image'
	verify "$service"
	rm -f /var/cache/apt/*.bin # verify's apt-mark has made them again
	# In a container that would be the host's disk.
	if ! systemd-detect-virt --quiet --container; then
		fstrim / 2>/dev/null || :
	fi
	printf 'bake: done: role %s, %s\n' "$PGHA_ROLE" "$(jq -r '[.components[] | "\(.name) \(.version)"] | join(", ")' "$manifest")"
}
