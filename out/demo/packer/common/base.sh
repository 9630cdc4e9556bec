# shellcheck shell=sh
# What every bake does, whatever the role. bake.sh sources this file, which
# lies beside it, as does rootfs/, the files that go into the image.
# A bake may be run again on its own result.

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

# begin DIRECTORY: from a plain system to one in which packages can be
# installed and nothing starts by itself.
begin() {
	here=$1
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

# account NAME NUMBER HOME: the user and group of the role's service, always with
# the same number, because its data disk outlives the image. Before the packages,
# which would give it the first number that is free.
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

# Before the first apt: a timer that takes apt's lock, or a package that starts
# its service, would make two bakes differ.
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

# A bake that loses its power starts again, so dpkg need not wait for the disk;
# and nobody reads the descriptions of packages here.
apt_get() {
	apt-get -q -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o Acquire::http::Timeout=30 \
		-o Acquire::Languages=none -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-unsafe-io \
		-o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@"
}

# Without Error-Mode a mirror that is down is only a warning. Once more, because
# a mirror that is being updated fits its own index only a while later.
# refresh all|FILE: every source of packages, or those of one file.
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

# install_packages PACKAGE[=VERSION]...: VERSION is the program's; the
# distribution appends its own to it. An empty one is the newest. What every
# image needs comes with them: each run of apt takes a second by itself.
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

resolve() {
	offered=$(apt-cache madison "$1" | awk -F ' *[|] *' '{ print $2 }')
	exact=$(printf '%s\n' "$offered" | awk -v v="$2" 'index($0, v "-") == 1 || index($0, v "+") == 1 || $0 == v { print; exit }')
	if [ -z "$exact" ]; then
		stop "there is no version $2 of $1 (any more): the package lists have $(printf '%s' "${offered:-none}" | tr '\n' ' '); change the version in the spec, or bake from a mirror that keeps it"
	fi
	resolved=$1=$exact
}

# hold PACKAGE...: nothing may change them later.
hold() {
	apt-mark hold "$@" >/dev/null
	held="$held $*"
}

# component NAME VERSION [SHA256 PATH PURL]: a line of the manifest.
component() {
	components="$components$1	$2	${3:-}	${4:-}	${5:-}
"
}

# component_package NAME PACKAGE
component_package() {
	component "$1" "$(dpkg-query -W -f '${Version}' "$2")"
}

# component_program NAME VERSION PATH PURL: one that no package brought.
component_program() {
	sum=$(sha256sum "$3")
	component "$1" "$2" "${sum%% *}" "$3" "$4"
}

# own FILE: a file that the bake wrote, beside those of rootfs.
own() {
	owned="$owned$1
"
}

# copy_rootfs: the files of the image. What is uploaded has lost its modes.
copy_rootfs() {
	(cd "$here/rootfs" && find . -type f) | while IFS= read -r path; do
		mode=0644
		if [ "$(head -c 2 "$here/rootfs/$path")" = '#!' ]; then
			mode=0755
		fi
		install -D -o root -g root -m "$mode" "$here/rootfs/$path" "/$path"
	done
}

# require NAME>=VERSION: also <, one component. The machine refuses to start
# without it (contract.sh), so that such an image is of no use.
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

# deliver SERVICE: from installed packages to a sealed image.
# SERVICE belongs to pgha.target alone: as a part of multi-user.target it would
# hold up the boot, or start before its secrets.
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
	step 'verify the image'
	verify "$service"
	rm -f /var/cache/apt/*.bin # apt-mark, asked just now, has made them again
	# In a container it would be the host's disk.
	if ! systemd-detect-virt --quiet --container; then
		fstrim / 2>/dev/null || :
	fi
	printf 'bake: done: role %s, %s\n' "$PGHA_ROLE" "$(jq -r '[.components[] | "\(.name) \(.version)"] | join(", ")' "$manifest")"
}

write_manifest() {
	component_package cloud-init "$(dpkg-query -S "$(readlink -f "$(command -v cloud-init)")" | sed 's/:.*//')"
	component_package systemd systemd
	dpkg-query -W -f '${db:Status-Abbrev}\t${Package}\t${Version}\t${Architecture}\n' | sed -n 's/^[ih]i *\t//p' >"$work/packages"
	printf '%s' "$components" >"$work/components"
	jq -n --arg role "$PGHA_ROLE" --argjson contract "$PGHA_CONTRACT" --arg recipe "$PGHA_RECIPE" \
		--arg id "$ID" --arg version "$base_version" --arg baked "$(date -u +%F)" \
		--rawfile components "$work/components" --rawfile packages "$work/packages" '
		def rows: split("\n") | map(select(. != "") | split("\t"));
		{format: "pgha-image/v1", role: $role, contract: $contract, recipe: $recipe, baked: $baked,
		 base: {id: $id, version: $version},
		 components: [$components | rows[] | {name: .[0], version: .[1]} + if .[2] != "" then {sha256: .[2]} else {} end],
		 packages: [$packages | rows[] | {name: .[0], version: .[1]}]}' >"$work/manifest"
	install -o root -g root -m 0644 "$work/manifest" "$manifest"
}

# write_sbom: CycloneDX. It has no time, and its serial number is made of its
# content (a UUID of version 8), so that the same image has the same bytes on any
# day. The manifest, which has the day of the bake, is therefore not in it.
write_sbom() {
	{
		(cd "$here/rootfs" && find . -type f) | sed 's/^\.//'
		printf '%s' "$owned"
	} | LC_ALL=C sort -u | xargs -d '\n' sha256sum | sed 's/  /\t/' >"$work/files"
	serial=$({
		jq 'del(.baked)' "$work/manifest"
		cat "$work/components" "$work/packages" "$work/files"
	} | sha256sum)
	jq -n --arg role "$PGHA_ROLE" --arg contract "$PGHA_CONTRACT" --arg recipe "$PGHA_RECIPE" \
		--arg id "$ID" --arg version "$base_version" --arg serial "$serial" \
		--rawfile components "$work/components" --rawfile packages "$work/packages" --rawfile files "$work/files" '
		def rows: split("\n") | map(select(. != "") | split("\t"));
		# A package URL leaves the colon of an epoch as it is.
		def quoted: @uri | gsub("%3A"; ":");
		def file($path; $sum): {
			hashes: [{alg: "SHA-256", content: $sum}],
			evidence: {occurrences: [{location: $path}]}};
		{"$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json", bomFormat: "CycloneDX", specVersion: "1.6",
		 serialNumber: ($serial | "urn:uuid:\(.[0:8])-\(.[8:12])-8\(.[13:16])-8\(.[17:20])-\(.[20:32])"), version: 1,
		 metadata: {lifecycles: [{phase: "build"}], component: {
			type: "operating-system", "bom-ref": "image", name: "pgha-\($role)", version: $recipe,
			properties: [
				{name: "pgha:role", value: $role}, {name: "pgha:contract", value: $contract},
				{name: "pgha:recipe", value: $recipe}, {name: "pgha:base", value: "\($id) \($version)"}]}},
		 components: ([$packages | rows[]
			| "pkg:deb/\($id)/\(.[0] | quoted)@\(.[1] | quoted)?arch=\(.[2])&distro=\($id)-\($version)" as $purl
			| {type: "library", "bom-ref": $purl, name: .[0], version: .[1], purl: $purl}]
		 + [$components | rows[] | select(.[2] != "")
			| {type: "application", "bom-ref": "program:\(.[3])", name: .[0], version: .[1], purl: .[4]} + file(.[3]; .[2])]
		 + [$files | rows[] | {type: "file", "bom-ref": "file:\(.[1])", name: .[1]} + file(.[1]; .[0])])}' >"$work/sbom"
	install -o root -g root -m 0644 "$work/sbom" "$sbom"
}

# seal: what the lists of sealed/ say, and whatever else must not be the same on
# two machines. The build user and its sudo stay: Packer still has to end its session.
seal() {
	if ! cleaned=$(cloud-init clean --logs --seed 2>&1); then
		stop "cannot $doing: cloud-init clean says $(printf '%s' "$cleaned" | tail -n 1)"
	fi
	# It writes the seed when it stops, and so would when Packer shuts the machine down.
	if [ -d /run/systemd/system ]; then
		systemctl stop systemd-random-seed.service
	fi
	cat "$here"/rootfs/usr/lib/pgha/sealed/*.list >"$work/sealed"
	seal_list
	mkdir -p /var/lib/dbus
	ln -sf /etc/machine-id /var/lib/dbus/machine-id
	# A secret on a tmpfs could be swapped out.
	if [ -e /etc/fstab ]; then
		sed -i '/^[^#]*[[:space:]]swap[[:space:]]/d' /etc/fstab
	fi
	quieted=
	apt-get clean
	rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/lib/dpkg/*-old /var/cache/debconf/*-old
	find /var/log -type f \( -name '*.gz' -o -name '*.[0-9]' -o -name '*.old' -o -path '/var/log/journal/*' \) -delete
	find /var/log -type f -exec truncate -s 0 {} +
	for scratch in /tmp /var/tmp; do
		find "$scratch" -xdev -mindepth 1 ! -path "$here" ! -path "$here/*" ! -path "$work" ! -path "$work/*" -type f -delete
	done
}

# seal_list: a unit that is masked is not stopped, since this bake may be
# running through it.
seal_list() {
	while read -r kind name _; do
		case $kind in
		enabled) systemctl enable --quiet "$name" ;;
		masked)
			systemctl disable --quiet "$name" 2>/dev/null || :
			systemctl mask --quiet "$name"
			;;
		removed)
			# It may have *, and has no spaces.
			# shellcheck disable=SC2086
			rm -rf $name
			;;
		empty) : >"$name" ;;
		absent | '' | '#'*) ;;
		*) stop "the lists of sealed/ have a line of an unknown kind, $kind" ;;
		esac
	done <"$work/sealed"
}

verify_list() {
	while read -r kind name what; do
		case $kind in
		enabled) systemctl is-enabled --quiet "$name" || unsound "$name is not enabled" ;;
		masked) [ "$(readlink "$system/$name")" = /dev/null ] || unsound "$name is not masked" ;;
		removed | absent)
			# shellcheck disable=SC2086
			none $name || unsound "it has $there, $what"
			;;
		empty)
			if ! [ -e "$name" ] || [ -s "$name" ]; then
				unsound "its $name is missing, or not empty"
			fi
			;;
		esac
	done <"$work/sealed"
}

unsound() {
	stop "the image is not sound: $1"
}

# none PATH...: globs that match nothing come as themselves.
none() {
	for there in "$@"; do
		if [ -e "$there" ] || [ -L "$there" ]; then
			return 1
		fi
	done
}

verify() {
	verify_list
	if found=$(find "$home" -type f -print -quit 2>/dev/null) && [ -n "$found" ]; then
		unsound "it has $found, the data of a machine"
	fi
	jq -e '.format == "pgha-image/v1" and ([.components[], .packages[] | .name, .version] | all(. != null and . != ""))
		and (.components | length > 0) and (.packages | length > 0) and (.baked | test("^[0-9]{4}-[0-9]{2}-[0-9]{2}$"))' "$manifest" >/dev/null || unsound 'its manifest is not complete'
	jq -e '[.components[] | .hashes // [] | .[].content] | length > 0 and all(test("^[0-9a-f]{64}$"))' "$sbom" >/dev/null ||
		unsound 'its bill of materials is not complete'
	[ -L "$system/pgha.target.wants/$1" ] || unsound "$1 is not part of pgha.target"
	none "$system/multi-user.target.wants/$1" || unsound "$1 is part of multi-user.target"
	for package in $held; do
		[ "$(apt-mark showhold "$package")" = "$package" ] || unsound "$package is not held"
	done
	# In a container it would be the host's kernel.
	if ! systemd-detect-virt --quiet --container; then
		errors=$(printf '%s\n' 'include "/usr/lib/pgha/firewall.nft"' 'add element inet pgha admitted { 1024 . 192.0.2.1 }' \
			'add rule inet pgha limits tcp dport 1024 add @held { ip saddr . tcp dport ct count over 1 } drop' | nft -c -f - 2>&1) ||
			unsound "its kernel does not take the firewall: $(printf '%s' "$errors" | head -n 1)"
	fi
	[ -x /usr/lib/pgha/ready-check.sh ] || unsound 'it cannot tell when it is ready: it has no /usr/lib/pgha/ready-check.sh'
	# It may have ended since it was found.
	process=$(find /proc -mindepth 1 -maxdepth 1 -user "$user" -print -quit 2>/dev/null) || :
	if [ -n "$process" ]; then
		unsound "$(cat "$process/comm" 2>/dev/null || echo "a process of $user") is running"
	fi
}
