#!/bin/sh
# Run by mmdebstrap on the finished root ($1), before it cleans up.
set -eu
root=$1
here=$(dirname "$0")

mkdir -p "$root/usr/local/share/ca-certificates"
for ca in "$here"/ca/*.crt; do
    [ -e "$ca" ] || continue
    cp "$ca" "$root/usr/local/share/ca-certificates/"
done
chroot "$root" update-ca-certificates

# The building host's: a machine gets its own.
rm -f "$root/etc/hostname" "$root/etc/resolv.conf" "$root"/etc/ssh/ssh_host_*

# Not an empty file: systemd must see a first boot, or nothing makes the host keys.
rm -f "$root/etc/machine-id" "$root/var/lib/dbus/machine-id"
echo uninitialized >"$root/etc/machine-id"
