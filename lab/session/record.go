//go:build linux

// Package session keeps one lab up in one process, and lets every other
// process find it, follow it and take it down.
package session

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"pgha-gen/internal/bootlog"
	"pgha-gen/lab"
	"pgha-gen/lab/timeline"
)

// Folder is where a lab keeps everything:
//
//	lock          locked by the process that keeps the lab up
//	lab.json      its Record
//	machines/     <node>/ with console.log, and disks/
//	ca.crt pgpass what clients need; only root may read the passwords
//	resolv.conf   the lab's DNS
//	work/         the spec in force, and secrets/<cluster>: where an operator works
//	control       the socket on which the lab takes requests
//	timeline.svg timeline.txt
//	bake.log      what the tools say that make images
//	lab.log       what a lab in the background says
//	cache/        images, unless they are kept elsewhere
//	drill/        what drills measured, unless it is kept elsewhere; nothing here removes it
type Folder string

func (f Folder) path(name string) string { return filepath.Join(string(f), name) }

// The files that people are told about.
func (f Folder) CA() string       { return f.path("ca.crt") }
func (f Folder) Passfile() string { return f.path("pgpass") }
func (f Folder) Timeline() string { return f.path("timeline.svg") }
func (f Folder) Work() string     { return f.path("work") }
func (f Folder) Secrets() string  { return filepath.Join(f.Work(), "secrets") }
func (f Folder) BakeLog() string  { return f.path("bake.log") }
func (f Folder) Log() string      { return f.path("lab.log") }
func (f Folder) Cache() string    { return f.path("cache") }

// Console is the file with every line of a machine's console.
func (f Folder) Console(machine string) string {
	return filepath.Join(f.path("machines"), machine, "console.log")
}

// Phase is how far a lab is.
type Phase string

// The phases, in their order.
const (
	Baking  Phase = "baking"  // images
	Booting Phase = "booting" // machines
	Up      Phase = "up"      // all were ready, and a write was acknowledged
	Down    Phase = "down"    // taken down in order
)

// Record is what a lab says of itself, in a file. It outlives the lab, so
// that what was left can be found.
type Record struct {
	PID        int
	Cluster    string
	Network    string // the namespace to connect from
	Cache      string // of images
	Phase      Phase
	Progress   []Progress // of the time before the machines
	PoweredOn  time.Time
	FirstWrite time.Time
	Machines   []Machine
	Access     lab.Access
	Psql       string // a root folder that has PostgreSQL's client
}

// Progress is something that is being done, or was.
type Progress struct {
	Began  time.Time
	What   string
	Result string // empty: it is not done yet
}

// AddProgress adds one. It takes the place of the last one if that was not
// done yet.
func (r *Record) AddProgress(p Progress) {
	if last := len(r.Progress) - 1; last >= 0 && r.Progress[last].Result == "" {
		r.Progress = r.Progress[:last:last]
	}
	r.Progress = append(r.Progress, p)
}

// Machine is a machine's part of the record.
type Machine struct {
	Name, Role string
	Address    netip.Addr
	Steps      []bootlog.Step // two stages that are seen on the console, then the boot protocol
	Off        bool           // it has ended
}

// Last is the newest step that tells something new, or a zero one: once the
// machine is ready, that something else went well tells nothing.
func (m Machine) Last() bootlog.Step {
	var last bootlog.Step
	for _, s := range m.Steps {
		ready := last.Name == "ready" && last.Status == "ok"
		if !ready || s.Name == "ready" || s.Status != "ok" {
			last = s
		}
	}
	return last
}

// Ready tells whether the machine said so, and still runs. What it says later
// of a disk or a certificate does not change that.
func (m Machine) Ready() bool {
	_, ready := m.readyAt()
	return ready && !m.Off
}

func (m Machine) readyAt() (time.Time, bool) {
	i := slices.IndexFunc(m.Steps, func(s bootlog.Step) bool { return s.Name == "ready" && s.Status == "ok" })
	if i < 0 {
		return time.Time{}, false
	}
	return m.Steps[i].At, true
}

// AllReady is when the last machine said that it is ready; zero while one did
// not.
func (r Record) AllReady() time.Time {
	var last time.Time
	for _, m := range r.Machines {
		if !m.Ready() {
			return time.Time{}
		}
		if at, _ := m.readyAt(); at.After(last) {
			last = at
		}
	}
	return last
}

// Timeline is the boot of all machines.
func (r Record) Timeline() timeline.Timeline {
	t := timeline.Timeline{Start: r.PoweredOn, Title: fmt.Sprintf("%s: %d machines, from power-on", r.Cluster, len(r.Machines))}
	if all := r.AllReady(); !all.IsZero() {
		t.Title = fmt.Sprintf("%s: %d machines, all ready %.1f s after power-on", r.Cluster, len(r.Machines), all.Sub(r.PoweredOn).Seconds())
	}
	for _, m := range r.Machines {
		l := timeline.Lane{Name: m.Name}
		for _, s := range m.Steps {
			l.Steps = append(l.Steps, timeline.Step{Name: s.Name, Status: s.Status, Detail: s.Detail, At: s.At})
		}
		t.Lanes = append(t.Lanes, l)
	}
	if !r.FirstWrite.IsZero() {
		t.Marks = []timeline.Mark{{Name: "first acknowledged write", At: r.FirstWrite}}
	}
	return t
}

// Load reads the record; ok is false if there is none.
func (f Folder) Load() (r Record, ok bool, err error) {
	data, err := os.ReadFile(f.path("lab.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return r, false, nil
	}
	if err != nil {
		return r, false, err
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return r, false, fmt.Errorf("%s is damaged: %w", f.path("lab.json"), err)
	}
	return r, true, nil
}

// save replaces the record at once: a reader sees the old or the new one.
func (f Folder) save(r Record) error {
	data, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	next := f.path("lab.json.new")
	if err := os.WriteFile(next, data, 0o644); err != nil {
		return err
	}
	return os.Rename(next, f.path("lab.json"))
}
