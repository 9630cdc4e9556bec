//go:build linux

package machine

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// forgetRules removes every nftables rule of the network namespace that the
// calling thread is in: a machine that is powered on has none, but its
// namespace outlives it. It asks the kernel itself, for nft(8) need not be on
// the host.
func forgetRules() error {
	s, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return fmt.Errorf("cannot reach nftables: %w", err)
	}
	defer unix.Close(s)
	const flushed = unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_DELTABLE
	// A table without a name and family is every table.
	batch := append(message(unix.NFNL_MSG_BATCH_BEGIN, 0, unix.NFNL_SUBSYS_NFTABLES), message(flushed, unix.NLM_F_ACK, 0)...)
	batch = append(batch, message(unix.NFNL_MSG_BATCH_END, 0, unix.NFNL_SUBSYS_NFTABLES)...)
	if err := unix.Sendto(s, batch, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("cannot ask nftables to forget its rules: %w", err)
	}
	answer := make([]byte, 4096)
	n, _, err := unix.Recvfrom(s, answer, 0)
	if err != nil || n < unix.SizeofNlMsghdr+4 || binary.NativeEndian.Uint16(answer[4:]) != unix.NLMSG_ERROR {
		return fmt.Errorf("cannot understand nftables' answer of %d bytes: %w", n, err)
	}
	if code := int32(binary.NativeEndian.Uint32(answer[unix.SizeofNlMsghdr:])); code != 0 {
		return fmt.Errorf("nftables does not forget its rules: %w", unix.Errno(-code))
	}
	return nil
}

// message is one of nfnetlink, without attributes.
func message(kind, flags, resource uint16) []byte {
	const size = unix.SizeofNlMsghdr + 4
	m := make([]byte, size)
	binary.NativeEndian.PutUint32(m, size)
	binary.NativeEndian.PutUint16(m[4:], kind)
	binary.NativeEndian.PutUint16(m[6:], flags|unix.NLM_F_REQUEST)
	m[unix.SizeofNlMsghdr] = unix.AF_UNSPEC
	binary.BigEndian.PutUint16(m[size-2:], resource)
	return m
}
