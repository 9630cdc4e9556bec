//go:build linux

package netns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Delay makes every packet from and to a machine arrive so much later, until the
// function that it gives is called. A machine that is delayed already is refused.
// It stands for netem, which not every kernel has: the machine's port leaves the
// bridge, and what passes between the two is carried by hand.
func (n *Network) Delay(ctx context.Context, p *Port, by time.Duration) (end func() error, err error) {
	near, far := "d"+p.Link, "e"+p.Link // two ends of one more wire; near is on the bridge
	undo := func() error {
		ctx := context.WithoutCancel(ctx)
		return errors.Join(
			ip(ctx, "-n", n.Name, "link", "set", p.Link, "arp", "on", "master", bridge),
			ip(ctx, "-n", n.Name, "link", "delete", near))
	}
	refused := func(err error) error { return fmt.Errorf("cannot delay machine %q: %w", p.Machine, err) }
	if err := ip(ctx, "-n", n.Name, "link", "add", near, "type", "veth", "peer", "name", far); err != nil {
		return nil, refused(err) // the wire of a delay that there is already is not this one's to undo
	}
	for _, s := range [][]string{
		// The bridge's own addresses are not to be asked for here.
		{"link", "set", far, "arp", "off", "up"},
		{"link", "set", p.Link, "arp", "off", "nomaster"},
		{"link", "set", near, "master", bridge, "up"},
	} {
		if err := ip(ctx, append([]string{"-n", n.Name}, s...)...); err != nil {
			return nil, errors.Join(refused(err), undo())
		}
	}
	var a, b int
	if err := n.inside(func() (err error) {
		if a, err = packets(p.Link); err == nil {
			b, err = packets(far)
		}
		return err
	}); err != nil {
		return nil, errors.Join(refused(err), undo())
	}
	carrying, stop := context.WithCancel(context.WithoutCancel(ctx))
	var both sync.WaitGroup
	both.Go(func() { carry(carrying, a, b, by) })
	both.Go(func() { carry(carrying, b, a, by) })
	return sync.OnceValue(func() error {
		stop()
		both.Wait()
		return errors.Join(unix.Close(a), unix.Close(b), undo())
	}), nil
}

// packets opens an interface for all that arrives there, with what is still to be
// done to a packet by the hardware that is not there: its checksum, and cutting it
// to the size of the wire (PACKET_VNET_HDR).
func packets(name string) (int, error) {
	device, err := net.InterfaceByName(name)
	if err != nil {
		return 0, err
	}
	s, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	all := int(uint16(unix.ETH_P_ALL)<<8 | uint16(unix.ETH_P_ALL)>>8) // in network order
	err = errors.Join(
		unix.SetsockoptInt(s, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1),
		unix.SetsockoptInt(s, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1),
		unix.SetsockoptTimeval(s, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000}),
		unix.SetsockoptInt(s, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20),
		unix.Bind(s, &unix.SockaddrLinklayer{Protocol: uint16(all), Ifindex: device.Index}),
	)
	if err != nil {
		return 0, errors.Join(err, unix.Close(s))
	}
	return s, nil
}

// onTheWay is how many packets may be on a wire; others are lost, as on a real one.
const onTheWay = 4096

type packet struct {
	due  time.Time
	data []byte
}

func carry(ctx context.Context, from, to int, by time.Duration) {
	wire := make(chan packet, onTheWay)
	var other sync.WaitGroup
	other.Go(func() {
		for p := range wire {
			time.Sleep(time.Until(p.due))
			unix.Write(to, p.data) // what does not get through is lost, as on a real wire
		}
	})
	buffer := make([]byte, 1<<17)
	for ctx.Err() == nil {
		n, err := unix.Read(from, buffer)
		if err != nil {
			continue // nothing came
		}
		select {
		case wire <- packet{time.Now().Add(by), append([]byte{}, buffer[:n]...)}:
		default:
		}
	}
	close(wire)
	other.Wait()
}
