#!/bin/sh
# disk.sh: finds the data disk, formats it if it is empty, mounts it, and
# refuses one that belongs to another cluster. disk.sh grow: makes the file
# system as large as a disk that has grown since.
set -eu
# shellcheck source-path=SCRIPTDIR source=step.sh
. "${PGHA_LIB:-/usr/lib/pgha}/step.sh"
read_cluster disk
read_identity disk

if [ -z "${PGHA_DATA_DEVICE:-}" ]; then
	say disk ok "role $PGHA_ROLE keeps no data on a disk"
	exit 0
fi
device=$PGHA_DATA_DEVICE
target=$PGHA_DATA_MOUNT
marker=$target/.pgha

# device_is_there: a disk may be attached at any time.
device_is_there() {
	reason="there is no $device: attach the data disk to this machine under the device name ${device##*/virtio-}"
	[ -e "$device" ]
}

# demand_readable: blkid ends with 2 for an empty disk, and for one that it
# cannot read, which must not be taken for empty.
demand_readable() {
	if ! dd if="$device" of=/dev/null bs=1M count=1 2>/dev/null; then
		fail disk "cannot read $device: nothing was changed; replace the disk"
	fi
}

# probe: the type of the file system, in $kind; empty: the disk is empty.
probe() {
	status=0
	found=$(blkid -p -o export "$device" 2>&1) || status=$?
	if [ "$status" = 2 ]; then
		kind=
		return
	fi
	kind=$(printf '%s\n' "$found" | sed -n 's/^TYPE=//p')
	if [ "$status" != 0 ] || { [ "$kind" != ext4 ] && [ "$kind" != xfs ]; }; then
		fail disk "$device holds something else than a data file system ($(printf '%s' "$found" | grep -E '^(TYPE|PTTYPE|LABEL)=' | tr '\n' ' ')blkid status $status): nothing was changed; attach the right disk, or an empty one"
	fi
}

refuse() {
	umount "$target" || :
	fail disk "$1"
}

write_marker() {
	printf '%s\n' "$PGHA_TOKEN" >"$marker.new"
	sync
	mv "$marker.new" "$marker"
	sync
}

# refuse_foreign: a file system without a marker is ours only if it is empty:
# a first boot ended between mkfs and the marker.
refuse_foreign() {
	if [ -e "$marker" ]; then
		owner=$(cat "$marker")
		if [ "$owner" != "$PGHA_TOKEN" ]; then
			refuse "$device belongs to cluster $owner, not to $PGHA_TOKEN: nothing was changed; attach the right disk, or an empty one"
		fi
	elif [ -n "$(find "$target" -mindepth 1 -maxdepth 1 ! -name lost+found ! -name .pgha.new)" ]; then
		refuse "$device holds files but no cluster's mark: nothing was changed; attach the right disk, or an empty one"
	fi
}

# grow STATUS: makes the file system as large as the disk. That it cannot is no
# reason not to start, and is said with STATUS.
grow() {
	case $(findmnt -n -o FSTYPE --mountpoint "$target") in
	ext4) grown=$(resize2fs "$device" 2>&1 >/dev/null) || small "$1" ;;
	xfs) grown=$(xfs_growfs "$target" 2>&1 >/dev/null) || small "$1" ;;
	esac
}

small() {
	say disk "$1" "$device is larger than its file system, which does not grow: $(printf '%s' "$grown" | tail -n 1)"
}

# take_over: in another image the service's user may have had another number.
# All below the mount point belongs to that user.
take_over() {
	wanted=$(id -u "$PGHA_SERVICE_USER"):$(id -g "$PGHA_SERVICE_USER")
	for path in "$target"/*; do
		case $path in
		"$target/lost+found" | "$target/*") continue ;;
		esac
		owner=$(stat -c %u:%g "$path")
		if [ "$owner" != "$wanted" ]; then
			say disk wait "$path belongs to $owner: giving it to $PGHA_SERVICE_USER ($wanted)"
			chown -hR "$wanted" "$path"
		fi
	done
}

# look: refuses a foreign disk before it is mounted read-write, which would
# change it. The marker may still be in the journal: then only the read-write
# mount, which replays it, can tell.
look() {
	if [ "$kind" != ext4 ] || dumpe2fs -h "$device" 2>/dev/null | grep -q needs_recovery; then
		return
	fi
	if mount -t ext4 -o ro,noload "$device" "$target" 2>/dev/null; then
		refuse_foreign
		umount "$target"
	fi
}

# watch.py has seen that the disk is larger than it was, and says how it ended.
if [ "${1:-}" = grow ]; then
	rm -f "$PGHA_RUN/disk-grow"
	grow warn
	exit 0
fi

longest=2
until_done disk device_is_there
if mountpoint -q "$target"; then
	source=$(findmnt -n -o SOURCE --mountpoint "$target")
	if [ "$(readlink -f "$source")" != "$(readlink -f "$device")" ]; then
		fail disk "$target is mounted from $source, not from $device: unmount it"
	fi
else
	mkdir -p "$target"
	demand_readable
	probe
	if [ -z "$kind" ]; then
		if ! errors=$(mkfs.ext4 -q -L "pgha-$PGHA_ROLE" "$device" 2>&1); then
			fail disk "cannot format $device: $errors"
		fi
		kind=ext4
	else
		look
	fi
	# A unit that has just started may have a copy of the mounts with the one
	# of look in it. That copy goes away by itself.
	tries=1
	until errors=$(mount -t "$kind" -o noatime "$device" "$target" 2>&1); do
		if [ "$tries" = 20 ]; then
			fail disk "cannot mount $device on $target: $errors"
		fi
		tries=$((tries + 1))
		sleep 0.2
	done
fi
refuse_foreign
if ! [ -e "$marker" ]; then
	write_marker
fi
chown root:root "$target"
chmod 0755 "$target"
grow wait
take_over
say disk ok "$device on $target"
