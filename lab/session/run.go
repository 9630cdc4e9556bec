//go:build linux

package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"time"

	"pgha-gen/generator"
	"pgha-gen/generator/role"
	"pgha-gen/generator/tree"
	"pgha-gen/internal/bootlog"
	"pgha-gen/lab"
	"pgha-gen/lab/cloud"
	"pgha-gen/lab/drill"
	"pgha-gen/lab/private"
	"pgha-gen/lab/release"
)

// Config is a lab to keep up.
type Config struct {
	Folder  Folder // absolute
	Cache   string // of images; absolute
	Program string // the Go module of the program that the lab builds; absolute
	Network string // at most 8 characters, unique on the host
	Cluster *role.Cluster
	Spec    []byte                                   // the cluster's, as it was read
	Read    func(spec []byte) (*role.Cluster, error) // reads one that is changed
	Now     func() time.Time
	PID     int // of this process, for the record
	// What is done with the lab once it is up. It is taken down when that is
	// over; nil: when the context is done.
	Work func(ctx context.Context, w drill.World) error
}

// bootTime is how long all machines together may take until they are ready. A
// step that waits says why; nothing that it waits for here takes this long.
const bootTime = 5 * time.Minute

// Run keeps a lab up until the context is done, and takes it down again: then
// it gives nil, or what could not be taken down. A lab that does not come up
// is taken down, too. What an earlier one left in the folder is removed
// first. Refused: a folder and a network that have a lab which is up.
func Run(ctx context.Context, cfg Config) (err error) {
	access, err := lab.NewAccess(cfg.Cluster)
	if err != nil {
		return err
	}
	left, err := cfg.Folder.sweep(ctx, cfg.Network, cfg.Cache)
	if err != nil {
		return err
	}
	claim, err := cfg.Folder.claim(cfg.Network)
	if err != nil {
		return err
	}
	defer claim.give()
	if err := cfg.Folder.forget(false); err != nil {
		return err
	}
	k := &keeper{Config: cfg, record: Record{
		PID: cfg.PID, Cluster: cfg.Cluster.Name, Network: cfg.Network, Cache: cfg.Cache, Phase: Baking, Access: access}}
	if err := k.change(func(r *Record) {
		if !left.Empty() {
			r.AddProgress(Progress{cfg.Now(), "what an earlier lab left", "removed " + left.String()})
		}
	}); err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, k.change(func(r *Record) { r.Phase = Down }))
	}()
	return k.keep(ctx)
}

// keeper is a lab that this process keeps up.
type keeper struct {
	Config

	mu     sync.Mutex
	record Record
}

// machine is a machine's part of the record; nil if it has none any more.
func (r *Record) machine(name string) *Machine {
	if i := slices.IndexFunc(r.Machines, func(m Machine) bool { return m.Name == name }); i >= 0 {
		return &r.Machines[i]
	}
	return nil
}

// change changes the record, in memory and in its file.
func (k *keeper) change(f func(*Record)) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	f(&k.record)
	return k.Folder.save(k.record)
}

func (k *keeper) report(p Progress) error { return k.change(func(r *Record) { r.AddProgress(p) }) }

func (k *keeper) keep(ctx context.Context) error {
	images, err := k.images(ctx)
	if ctx.Err() != nil {
		return nil // whoever ends it knows why
	}
	if err != nil {
		return err
	}
	addresses, err := lab.Addresses(k.Cluster)
	if err != nil {
		return err
	}
	if err := k.change(func(r *Record) {
		r.Phase, r.Psql = Booting, images[k.record.Access.Role]
		for _, p := range k.Cluster.Groups {
			for _, n := range p.Nodes() {
				r.Machines = append(r.Machines, Machine{Name: n.Name, Role: p.Name, Address: addresses[n.Name]})
			}
		}
	}); err != nil {
		return err
	}
	faults := new(cloud.Outages)
	l, err := lab.New(ctx, lab.Config{
		Cluster: k.Cluster, Images: images, State: k.Folder.path("machines"), Secrets: k.Folder.Secrets(),
		Cache: k.Cache, Name: k.Network, Now: k.Now, Faults: faults.Now})
	if err != nil {
		return err
	}
	var running sync.WaitGroup
	following, stop := context.WithCancel(ctx)
	err = k.run(following, l, &running)
	w := drill.World{Lab: l, Faults: faults}
	if err == nil {
		err = k.serve(following, w, &running)
	}
	switch {
	case err != nil:
	case k.Work != nil:
		err = k.Work(ctx, w)
	default:
		<-ctx.Done()
	}
	if ctx.Err() != nil {
		err = nil
	}
	stop()
	err = errors.Join(err, l.Close())
	running.Wait()
	return err
}

// images are those of every role of the cluster. Each is reported when it is
// there.
func (k *keeper) images(ctx context.Context) (map[string]string, error) {
	log, err := os.OpenFile(k.Folder.BakeLog(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	return Bake(ctx, k.Config, log, k.report)
}

// Bake makes the images of every role of the cluster that the cache does not
// have, and gives them all: role to root folder. What the tools say goes to
// log. Each thing is reported when it begins, and when it is done.
func Bake(ctx context.Context, cfg Config, log io.Writer, report func(Progress) error) (map[string]string, error) {
	b := lab.Baker{Cache: cfg.Cache, Program: cfg.Program, Now: cfg.Now, Log: log}
	if err := private.Make(cfg.Cache); err != nil {
		return nil, err
	}
	c := cfg.Cluster
	var archive release.Archive
	var files tree.Tree
	images := map[string]string{}
	steps := []struct {
		what string
		do   func() error
	}{
		{"release of " + filepath.Base(cfg.Program), func() (err error) { archive, err = b.Adapt(ctx, c); return err }},
		{"base image", func() (err error) {
			if files, err = generator.Generate(c); err == nil {
				_, err = b.Base(ctx)
			}
			return err
		}},
	}
	for _, g := range c.Groups {
		steps = append(steps, struct {
			what string
			do   func() error
		}{"image of " + g.Name, func() error {
			made, err := b.Images(ctx, files, archive, []string{g.Name})
			images[g.Name] = made[g.Name]
			return err
		}})
	}
	for _, step := range steps {
		progress := Progress{Began: cfg.Now(), What: step.what}
		if err := report(progress); err != nil {
			return nil, err
		}
		if err := step.do(); err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, fmt.Errorf("%w (see the end of %s)", err, cfg.Folder.BakeLog())
		}
		progress.Result = "is there"
		// A cache that has it answers at once; otherwise it was made, here or
		// by a process that was waited for.
		if took := cfg.Now().Sub(progress.Began); took > time.Second {
			progress.Result = fmt.Sprintf("is there after %.1f s", took.Seconds())
		}
		if err := report(progress); err != nil {
			return nil, err
		}
	}
	return images, nil
}

// run powers all machines on, and returns when all are ready and a write was
// acknowledged. Machines are followed for as long as they run.
func (k *keeper) run(ctx context.Context, l *lab.Lab, running *sync.WaitGroup) error {
	access := k.record.Access
	target := access.Primary
	ca, password := []byte(l.Secret(access.Role, "ca.crt")), l.Secret(access.Role, "password."+target.User)
	if err := errors.Join(
		os.WriteFile(k.Folder.path("resolv.conf"), l.ResolvConf(), 0o644),
		k.furnish(l, access, k.Spec),
	); err != nil {
		return err
	}
	if err := k.change(func(r *Record) { r.PoweredOn = k.Now() }); err != nil {
		return err
	}
	boot, cancel := context.WithTimeoutCause(ctx, bootTime, fmt.Errorf("the lab did not come up in %v", bootTime))
	defer cancel()
	results := make(chan error)
	report := func(err error) {
		select {
		case results <- err:
		case <-boot.Done():
		}
	}
	names := l.Names()
	for _, name := range names {
		running.Go(func() {
			if err := l.Start(boot, name); err != nil {
				report(err)
				return
			}
			k.follow(ctx, l, name, report)
		})
	}
	running.Go(func() {
		at, err := target.FirstWrite(boot, l.Network.Dial, ca, password, k.Now)
		if err == nil {
			err = k.change(func(r *Record) { r.FirstWrite = at })
		}
		report(err)
	})
	for range len(names) + 1 {
		var err error
		select {
		case err = <-results:
		case <-boot.Done():
			err = context.Cause(boot)
		}
		if err != nil {
			return errors.Join(k.unready(boot, err), k.draw())
		}
	}
	if err := k.change(func(r *Record) { r.Phase = Up }); err != nil {
		return err
	}
	return k.draw()
}

// unready says why the lab does not come up, and where to read on.
func (k *keeper) unready(boot context.Context, err error) error {
	if boot.Err() != nil {
		k.mu.Lock()
		err = fmt.Errorf("%w: %s", context.Cause(boot), k.record.Trouble(nil))
		k.mu.Unlock()
	}
	return fmt.Errorf("%w (the consoles are %s)", err, k.Folder.Console("*"))
}

// The stages before the boot protocol begins, by what systemd says at their
// end.
var (
	systemdEnds   = regexp.MustCompile(`^ *Starting cloud-init[-a-z]*\.service`)
	cloudInitEnds = regexp.MustCompile(`^ *Starting pgha-(contract|identity)\.service`)
)

// follow writes each step of a machine into the record, and reports once:
// that it is ready, or why it will not be.
func (k *keeper) follow(ctx context.Context, l *lab.Lab, name string, report func(error)) {
	stages := []struct {
		name string
		ends *regexp.Regexp
	}{{"systemd", systemdEnds}, {"cloud-init", cloudInitEnds}}
	once := func(err error) { report(err); report = func(error) {} }
	m := l.Machine(name)
	for line := range m.Console().Follow(ctx) {
		s, ok := bootlog.Parse(line.Text)
		if !ok && len(stages) > 0 && stages[0].ends.MatchString(line.Text) {
			s, ok = bootlog.Step{At: line.At, Node: name, Name: stages[0].name, Status: "ok"}, true
			stages = stages[1:]
		}
		if !ok {
			continue
		}
		err := k.change(func(r *Record) {
			if m := r.machine(name); m != nil {
				m.Steps = append(m.Steps, s)
			}
		})
		if s.Status == "fail" {
			err = fmt.Errorf("%s: %s failed: %s", name, s.Name, s.Detail)
		}
		if err != nil || s.Name == "ready" && s.Status == "ok" {
			once(err)
		}
	}
	if ctx.Err() != nil {
		return
	}
	once(errors.Join(fmt.Errorf("%s ended before it was ready", name), k.set(name, func(m *Machine) { m.Off = true })))
	// A drill powers machines on again.
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for l.Machine(name) == m {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
	if l.Machine(name) != nil {
		k.set(name, func(m *Machine) { m.Off, m.Steps = false, nil })
		k.follow(ctx, l, name, func(error) {})
	}
}

// set changes a machine's part of the record, if it has one.
func (k *keeper) set(name string, f func(*Machine)) error {
	return k.change(func(r *Record) {
		if m := r.machine(name); m != nil {
			f(m)
		}
	})
}

func (k *keeper) draw() error {
	k.mu.Lock()
	t := k.record.Timeline()
	k.mu.Unlock()
	picture, err := t.SVG()
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(k.Folder.Timeline(), picture, 0o644),
		os.WriteFile(k.Folder.path("timeline.txt"), []byte(t.Text()), 0o644))
}
