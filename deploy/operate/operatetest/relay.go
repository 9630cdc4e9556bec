package operatetest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"

	"pgha-gen/internal/testkit"
)

// Relay serves machines, which dial reaches, to another process, and gives the
// address of what Behind speaks to.
func Relay(t testing.TB, dial func(ctx context.Context, network, address string) (net.Conn, error)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.OK(t, err)
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				in := bufio.NewReader(conn)
				address, err := in.ReadString('\n')
				if err != nil {
					return
				}
				to, err := dial(t.Context(), "tcp", strings.TrimSpace(address))
				if err != nil {
					io.WriteString(conn, "n")
					return
				}
				defer to.Close()
				io.WriteString(conn, "y")
				go io.Copy(to, in)
				io.Copy(conn, to)
			}()
		}
	}()
	return listener.Addr().String()
}

// Behind reaches the machines that a Relay serves at this address: it says to
// whom it wants, and is told whether there is somebody.
func Behind(relay string) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, relay)
		if err != nil {
			return nil, err
		}
		answer := make([]byte, 1)
		_, err = fmt.Fprintln(conn, address)
		if err == nil {
			_, err = io.ReadFull(conn, answer)
		}
		if err == nil && answer[0] != 'y' {
			err = syscall.ECONNREFUSED
		}
		if err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		return conn, nil
	}
}
