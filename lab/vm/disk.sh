#!/bin/sh
# disk.sh ROOT DISK: a disk of 3 GiB with an MBR, from which a BIOS boots ROOT, a
# folder. As root, in a mount namespace of its own, which takes the mount and the
# loop device with it.
set -eu
root=$1
disk=$2

truncate -s 3G "$disk"
printf 'label: dos\nstart=2048, type=83, bootable\n' | sfdisk -q "$disk"
# Of an extlinux of 2014 the file system must not ask for more.
mke2fs -q -t ext4 -O '^64bit,^metadata_csum' -E offset=1048576,root_owner=0:0 -d "$root" "$disk" 3071M
dd if=/usr/lib/syslinux/mbr/mbr.bin of="$disk" bs=440 count=1 conv=notrunc status=none

mount -o loop,offset=1048576 "$disk" /mnt
cd /mnt
mkdir boot/extlinux
cat >boot/extlinux/extlinux.conf <<END
DEFAULT linux
LABEL linux
  LINUX /$(echo boot/vmlinuz-*)
  INITRD /$(echo boot/initrd.img-*)
  APPEND root=/dev/vda1 ro console=ttyS0
END
extlinux --install boot/extlinux 2>/dev/null
echo '/dev/vda1 / ext4 errors=remount-ro 0 1' >etc/fstab
systemctl --root=/mnt --quiet enable systemd-networkd.service
