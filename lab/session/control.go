//go:build linux

package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"pgha-gen/generator/cloudinit"
	"pgha-gen/lab"
	"pgha-gen/lab/drill"
)

// Request is what another process wants of a lab that is up: one of these.
type Request struct {
	Spec   []byte // what the machines shall be from now on
	Delete string // a machine that shall be deleted
	Grow   string // a node whose data disk shall have Size bytes
	Size   int64
	Drill  *Drill
}

// Drill is a drill of a lab that is up.
type Drill struct {
	Scenarios []string
	Rounds    int
	Results   string
	Slowness  float64 // of the host, as lab/pace measures it
	Nemesis   *drill.Nemesis
}

// Answer is what was done.
type Answer struct {
	Refused string            // why nothing was
	Told    map[string]string // the machines that have new user-data, and its digest
	Secrets []string          // the roles that Lockbox has new secrets for
	New     []string          // machines that were created, and powered on
	Gone    []string          // machines of nodes that the spec has no more
}

// requestTime is how long a request may take to be read, and answered.
const requestTime = time.Minute

// Ask has the lab in this folder do something.
func (f Folder) Ask(ctx context.Context, r Request) (a Answer, err error) {
	dir, err := os.Open(string(f))
	if err != nil {
		return a, err
	}
	defer dir.Close()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", f.control(dir))
	if err != nil {
		return a, errors.New("the lab takes no requests before it is up (see pgha-lab status)")
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if err := json.NewEncoder(conn).Encode(r); err != nil {
		return a, fmt.Errorf("cannot ask the lab: %w", err)
	}
	if err := json.NewDecoder(conn).Decode(&a); err != nil {
		return a, fmt.Errorf("the lab does not answer: %w", errors.Join(ctx.Err(), err))
	}
	if a.Refused != "" {
		return a, errors.New(a.Refused)
	}
	return a, nil
}

// control is the path of the socket. A socket's path must be short, and the
// folder's may be long.
func (f Folder) control(dir *os.File) string {
	return fmt.Sprintf("/proc/self/fd/%d/control", dir.Fd())
}

// serve takes requests, one after the other, until the context is done.
func (k *keeper) serve(ctx context.Context, l drill.World, running *sync.WaitGroup) error {
	dir, err := os.Open(string(k.Folder))
	if err != nil {
		return err
	}
	listener, err := net.Listen("unix", k.Folder.control(dir))
	if err != nil {
		return errors.Join(err, dir.Close())
	}
	running.Go(func() {
		<-ctx.Done()
		listener.Close()
		dir.Close()
	})
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			k.answer(ctx, l, running, conn)
		}
	})
	return nil
}

func (k *keeper) answer(ctx context.Context, w drill.World, running *sync.WaitGroup, conn net.Conn) {
	l := w.Lab
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(requestTime))
	var r Request
	if err := json.NewDecoder(conn).Decode(&r); err != nil {
		return // whoever asked is gone
	}
	var a Answer
	var err error
	switch {
	case r.Drill != nil:
		conn.SetDeadline(time.Time{})
		err = r.Drill.answer(ctx, w, conn)
	case r.Delete != "":
		err = k.delete(ctx, l, r.Delete)
	case r.Grow != "":
		err = l.GrowDisk(r.Grow, r.Size)
	default:
		a, err = k.refresh(ctx, l, r.Spec, running)
	}
	if err != nil {
		a.Refused = err.Error()
	}
	json.NewEncoder(conn).Encode(a)
}

// answer runs the drill until it is over, or whoever asked for it is gone.
func (d Drill) answer(ctx context.Context, w drill.World, asked io.Reader) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		io.Copy(io.Discard, asked)
		cancel()
	}()
	return d.Run(ctx, w, func(drill.Round) {})
}

// Run runs it, and tells of each round that has ended.
func (d Drill) Run(ctx context.Context, w drill.World, say func(drill.Round)) error {
	order := drill.Order{Named: len(d.Scenarios) > 0, Rounds: d.Rounds, Results: drill.Results(d.Results), Slowness: d.Slowness, Nemesis: d.Nemesis}
	var err error
	if order.Scenarios, err = drill.All(); err != nil {
		return err
	}
	if d.Nemesis == nil || len(d.Scenarios) > 0 {
		if order.Scenarios, err = drill.Pick(order.Scenarios, d.Scenarios); err != nil {
			return err
		}
	}
	return drill.Run(ctx, w, order, say)
}

// refresh gives a changed spec to the lab, and powers on the machines that are
// new.
func (k *keeper) refresh(ctx context.Context, l *lab.Lab, spec []byte, running *sync.WaitGroup) (a Answer, err error) {
	cluster, err := k.Read(spec)
	if err != nil {
		return a, err
	}
	if _, err := lab.NewAccess(cluster); err != nil {
		return a, err
	}
	for _, g := range cluster.Groups {
		if k.Cluster.Group(g.Name) == nil {
			return a, fmt.Errorf("the lab has no image of role %s (take it down and up again: up bakes it)", g.Name)
		}
	}
	before, secretsBefore := l.UserData(), l.Payloads()
	if err := l.Refresh(ctx, cluster); err != nil {
		return a, err
	}
	for role, payload := range l.Payloads() {
		if !maps.Equal(payload, secretsBefore[role]) {
			a.Secrets = append(a.Secrets, role)
		}
	}
	slices.Sort(a.Secrets)
	var wanted []string
	for _, g := range cluster.Groups {
		for _, n := range g.Nodes() {
			wanted = append(wanted, n.Name)
		}
	}
	a.Told = map[string]string{}
	now := l.UserData()
	var fresh []Machine
	for _, name := range l.Names() {
		was, known := before[name]
		switch {
		case !known:
			role, address, err := l.Place(name)
			if err != nil {
				return a, err
			}
			a.New, fresh = append(a.New, name), append(fresh, Machine{Name: name, Role: role, Address: address})
		case was != now[name]:
			a.Told[name] = cloudinit.Digest([]byte(now[name]))
		}
		if !slices.Contains(wanted, name) {
			a.Gone = append(a.Gone, name)
		}
	}
	access, err := l.Access()
	if err != nil {
		return a, err
	}
	if err := errors.Join(k.furnish(l, access, spec), k.change(func(r *Record) {
		r.Access, r.Machines = access, append(r.Machines, fresh...)
	})); err != nil {
		return a, err
	}
	for _, name := range a.New {
		if err := l.Start(ctx, name); err != nil {
			return a, err
		}
		running.Go(func() { k.follow(ctx, l, name, func(error) {}) })
	}
	return a, nil
}

// delete deletes a machine whose node is in the spec no more.
func (k *keeper) delete(ctx context.Context, l *lab.Lab, name string) error {
	if l.InSpec(name) {
		return fmt.Errorf("%s is a node of the spec (take it out of the spec, and pgha-lab refresh, before its machine is deleted)", name)
	}
	if err := l.Remove(ctx, name); err != nil {
		return err
	}
	return k.change(func(r *Record) {
		r.Machines = slices.DeleteFunc(r.Machines, func(m Machine) bool { return m.Name == name })
	})
}

// furnish keeps what clients need, the authority and the password, and where an
// operator works the spec in force, under its usual name.
func (k *keeper) furnish(l *lab.Lab, access lab.Access, spec []byte) error {
	spec, err := withAuthority(spec, l.CA.Certificate())
	if err != nil {
		return err
	}
	password := l.Secret(access.Role, "password."+access.Primary.User)
	passfile := access.Primary.Passfile(password) + access.Replicas.Passfile(password)
	return errors.Join(
		os.WriteFile(k.Folder.CA(), []byte(l.Secret(access.Role, "ca.crt")), 0o644),
		os.WriteFile(k.Folder.Passfile(), []byte(passfile), 0o600),
		os.WriteFile(filepath.Join(k.Folder.Work(), "pgha.yaml"), spec, 0o644))
}
