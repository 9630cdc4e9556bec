package drill

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"pgha-gen/generator/specfile"
)

// Step is one thing that is done, as its sentence says.
type Step struct {
	Form     string   // as forms has it
	On       []string // the groups of nodes that it names, in their order
	Program  string
	Service  string
	Duration time.Duration
	Wait     Bound
	Percent  int
	Megabits int // a second
	Writes   int // a second
	Status   int // of HTTP
	Number   int
	Text     string
	Sentence string
}

// forms are the sentences that a step can be. A word in capitals stands for one
// of a kind.
func forms() []string {
	return []string{
		"cut NODES",                          // the power of a machine
		"start NODES",                        // machines that are off
		"stop NODES",                         // in order, as the cloud does it
		"reboot NODES",                       // stop and start
		"replace NODES with disk",            // by a new machine with the old data disk
		"replace NODES without disk",         // by a new machine with an empty one
		"unplug NODES",                       // the network cable
		"plug NODES",                         // and back
		"lose PERCENT from NODES to NODES",   // packets, in this direction
		"slow network of NODES to MEGABITS",  // a second
		"delay network of NODES by DURATION", // each packet, there and back
		"heal network",                       // no packet is lost any more
		"kill PROGRAM on NODES",              // -KILL
		"freeze PROGRAM on NODES",            // -STOP
		"thaw PROGRAM on NODES",              // -CONT
		"restart PROGRAM on NODES",           // by systemd
		"pause NODES",                        // the whole machine, as a live migration does
		"resume NODES",                       // and it goes on
		"slow cores of NODES to PERCENT",     // of their time
		"heal cores",                         // all time is theirs again
		"slow disk of NODES to WRITES",       // a second
		"heal disks",                         // they take all writes at once again
		"fill disk of NODES",                 // to the last byte
		"empty disk of NODES",                // of what filled it
		"take SERVICE away",                  // of the cloud
		"have SERVICE answer STATUS",         // whatever it is asked
		"slow SERVICE by DURATION",           // each answer
		"bring SERVICE back",                 // as it was
		"begin a backup",                     // by the spec's schedule
		"end NUMBER segments",                // of WAL, on the leader
		"corrupt the newest backup",          // a byte of its largest object
		"recover etcd from NODES",            // by metadata, as docs/recovery.md says
		"hand over",                          // a switchover to whom Patroni likes
		"hand over to NODES",                 // as an operator's: pgha-gen cluster switchover names one
		"have certificates of NODES end in DURATION",
		"rotate certificates",     //
		"rotate passwords",        //
		"change the spec",         // its access.clients
		"wait until whole",        //
		"wait until TEXT is said", // on the console of a machine
		"wait BOUND",              // such as 5s, or ttl+5s: a lease and 5 s
	}
}

// The words of a sentence.
const (
	Leader       = "leader" // who led when the round began
	NewLeader    = "new leader"
	Sync         = "sync standby" // one whose answer a commit may wait for
	Replica      = "a replica"    // the first that did not lead
	OtherReplica = "another replica"
	Replicas     = "the replicas"
	Databases    = "all databases"
	DCSLeader    = "etcd leader"
	Follower     = "an etcd follower"
	OtherDCS     = "another etcd follower"
	TwoDCS       = "two etcd"
	AllDCS       = "all etcd"
	Proxies      = "haproxy"
	OneProxy     = "one haproxy" // of two or more
	Everything   = "all machines"
	Others       = "all other machines" // than the leader
)

func targets() []string {
	return []string{Leader, NewLeader, Sync, Replica, OtherReplica, Replicas, Databases, DCSLeader, Follower, OtherDCS, TwoDCS, AllDCS, Proxies, OneProxy, Everything, Others}
}

// programs are those that can be killed, by the name of their process.
func programs() map[string]string {
	return map[string]string{"PostgreSQL": "postgres", "Patroni": "patroni", "etcd": "etcd", "HAProxy": "haproxy"}
}

func services() []string {
	return []string{"metadata", "token", "lockbox", "dns", "iam", "storage", "storage writes"}
}

var placeholder = regexp.MustCompile(`[A-Z]{2,}`)

// ParseStep reads a sentence.
func ParseStep(sentence string) (Step, error) {
	for _, form := range forms() {
		found := pattern(form).FindStringSubmatch(sentence)
		if found == nil {
			continue
		}
		s := Step{Form: form, Sentence: sentence}
		for i, kind := range placeholder.FindAllString(form, -1) {
			if err := s.take(kind, found[i+1]); err != nil {
				return s, err
			}
		}
		return s, nil
	}
	verb, _, _ := strings.Cut(sentence, " ")
	var near []string
	for _, form := range forms() {
		if first, _, _ := strings.Cut(form, " "); first == verb {
			near = append(near, form)
		}
	}
	if near == nil {
		near = forms()
	}
	return Step{}, fmt.Errorf("%q is no step (want %s)", sentence, strings.Join(near, "; or "))
}

func pattern(form string) *regexp.Regexp {
	return regexp.MustCompile("^" + placeholder.ReplaceAllString(regexp.QuoteMeta(form), "(.+?)") + "$")
}

func (s *Step) take(kind, word string) error {
	switch kind {
	case "NODES":
		s.On = append(s.On, word)
		return oneOf(word, "node", targets())
	case "PROGRAM":
		s.Program = word
		var known []string
		for name := range programs() {
			known = append(known, name)
		}
		slices.Sort(known)
		if err := oneOf(word, "program", known); err != nil {
			return err
		}
		if strings.HasPrefix(s.Form, "restart") && word == "PostgreSQL" {
			return errors.New("systemd knows no PostgreSQL (want kill PostgreSQL, or restart Patroni)")
		}
	case "SERVICE":
		s.Service = word
		return oneOf(word, "service of the cloud", services())
	case "DURATION":
		var d specfile.Duration
		if err := d.UnmarshalText([]byte(word)); err != nil {
			return err
		}
		s.Duration = time.Duration(d)
	case "BOUND":
		var err error
		s.Wait, err = ParseBound(word)
		return err
	case "TEXT":
		s.Text = word
	case "STATUS":
		n, err := strconv.Atoi(word)
		if err != nil || n < 400 || n > 599 {
			return fmt.Errorf("%q is no status of a fault (want 400 to 599)", word)
		}
		s.Status = n
	case "NUMBER":
		n, err := strconv.Atoi(word)
		if err != nil || n < 1 || n > 1000 {
			return fmt.Errorf("%q is no number (want 1 to 1000)", word)
		}
		s.Number = n
	case "MEGABITS":
		n, err := strconv.Atoi(strings.TrimSuffix(word, " Mbit/s"))
		if err != nil || n < 1 || n > 1000 || !strings.HasSuffix(word, " Mbit/s") {
			return fmt.Errorf("%q is no speed of a network (want 1 Mbit/s to 1000 Mbit/s)", word)
		}
		s.Megabits = n
	case "WRITES":
		n, err := strconv.Atoi(strings.TrimSuffix(word, " writes/s"))
		if err != nil || n < 1 || n > 1000 || !strings.HasSuffix(word, " writes/s") {
			return fmt.Errorf("%q is no speed of a disk (want 1 writes/s to 1000 writes/s)", word)
		}
		s.Writes = n
	case "PERCENT":
		n, err := strconv.Atoi(strings.TrimSuffix(word, "%"))
		if err != nil || n < 1 || n > 100 || !strings.HasSuffix(word, "%") {
			return fmt.Errorf("%q is no part of a whole (want 1%% to 100%%)", word)
		}
		s.Percent = n
	}
	return nil
}

func oneOf(word, what string, known []string) error {
	if slices.Contains(known, word) {
		return nil
	}
	return fmt.Errorf("%q is no %s (want %s)", word, what, strings.Join(known, ", "))
}
