package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"pgha-gen/deploy/operate"
	"pgha-gen/deploy/operate/operatetest"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
)

// machinesVariable has the address behind which a script's machines are.
const machinesVariable = "PGHA_TEST_MACHINES"

// machinesDial is how the command of a script reaches machines: it says to whom
// it wants, and is told whether there is somebody.
func machinesDial() operate.Dial {
	at := os.Getenv(machinesVariable)
	if at == "" {
		return new(net.Dialer).DialContext
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, at)
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

// machines [CHANGE...]: from here on there are the spec pgha.yaml, the operator's
// folder secrets/demo/operator, and the machines of them, where a change is
// refuse=NODE, out=NODE (of the quorum), pending=NODE or paused.
func machines(t *testing.T) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		a := operatetest.NewAuthority(t)
		m := operatetest.New(t, a)
		ts.Check(os.MkdirAll(ts.MkAbs("secrets/demo"), 0o700))
		ts.Check(os.RemoveAll(ts.MkAbs("secrets/demo/operator")))
		ts.Check(os.CopyFS(ts.MkAbs("secrets/demo/operator"), os.DirFS(operatetest.Folder(t, a))))
		for _, name := range []string{"operator.key", "restapi.password"} {
			ts.Check(os.Chmod(ts.MkAbs("secrets/demo/operator/"+name), 0o600))
		}
		ts.Check(os.WriteFile(ts.MkAbs("pgha.yaml"), []byte(demo.Spec(t, operatetest.Operators)), 0o600))
		for _, arg := range args {
			what, node, _ := strings.Cut(arg, "=")
			switch what {
			case "refuse":
				m.Refuse[node] = true
			case "out":
				m.Out[node] = true
			case "pending":
				m.Pending[node] = true
			case "paused":
				m.Paused = true
			default:
				ts.Fatalf("unknown change %q", arg)
			}
		}
		ts.Setenv(machinesVariable, relay(t, m.Dial))
	}
}

// relay gives the address of what machinesDial speaks to.
func relay(t *testing.T, dial operate.Dial) string {
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
