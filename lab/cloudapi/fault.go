package cloudapi

import (
	"net"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Fault is what goes wrong with a method.
type Fault struct {
	Method  string // such as InstanceService.Create
	After   int    // calls that still go well
	Times   int    // 0: from then on, always
	Code    codes.Code
	Message string
	Late    bool // the operation starts, and fails
	Cut     bool // the call takes effect, and all connections are cut before its answer
}

type fault struct {
	Fault
	calls int
}

func (f *fault) error() error { return status.Error(f.Code, f.Message) }

// Break adds a fault; Mend takes all of them back.
func (c *Cloud) Break(f Fault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = append(c.faults, &fault{Fault: f})
}

// Mend takes all faults back.
func (c *Cloud) Mend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = nil
}

// fault is that of this call, or nil.
func (c *Cloud) fault(m method) *fault {
	for _, f := range c.faults {
		if f.Method != m.short() {
			continue
		}
		f.calls++
		if f.calls > f.After && (f.Times == 0 || f.calls <= f.After+f.Times) {
			return f
		}
	}
	return nil
}

// listener remembers its connections, to cut them.
type listener struct {
	net.Listener
	mu    sync.Mutex
	conns []net.Conn
}

func (l *listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.mu.Lock()
		l.conns = append(l.conns, conn)
		l.mu.Unlock()
	}
	return conn, err
}

func (l *listener) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, conn := range l.conns {
		_ = conn.Close() // it may have ended by itself
	}
	l.conns = nil
}
