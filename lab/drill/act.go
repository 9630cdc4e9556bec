//go:build linux

package drill

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"pgha-gen/deploy/secrets"
	"pgha-gen/generator/role"
	"pgha-gen/lab/cloud"
	"pgha-gen/lab/machine"
	"pgha-gen/lab/netns"
)

// stage is the cluster during a round: who was what when it began, and what has
// been done to it and not undone yet.
type stage struct {
	eyes
	was      view
	began    time.Time
	limit    time.Duration // for being whole again
	ttl      time.Duration // of a leader's lease
	machines []*machine.Machine
	losses   []netns.Loss
	stopped  map[string][]string // processes that were frozen, by machine
	paused   []string
	filled   []string
	away     []cloud.Service
	unplug   []string
	slow     []string

	slowed []func() error // what ends it
	drags  []string       // whose disks are slow
	ends   bool           // Lockbox has certificates that end

	mu     sync.Mutex
	delays []func() error // what ends them
}

// nodes are those that a target means.
func (s *stage) nodes(ctx context.Context, target string) ([]string, error) {
	pick := func(from []string, i int) []string {
		if i >= len(from) {
			return nil
		}
		return slices.Clone(from[i : i+1])
	}
	var found []string
	switch target {
	case Leader:
		found = []string{s.was.leader}
	case NewLeader:
		members, err := s.members(ctx)
		if err != nil {
			return nil, err
		}
		for _, m := range members {
			if m.Role == "leader" {
				found = append(found, m.Name)
			}
		}
	case Sync:
		if s.was.sync != "" {
			found = []string{s.was.sync}
		}
	case Replica:
		found = pick(s.was.replicas, 0)
	case OtherReplica:
		found = pick(s.was.replicas, 1)
	case Replicas:
		found = s.was.replicas
	case Databases:
		found = s.Offering(role.Database)
	case DCSLeader:
		found = []string{s.was.dcsLeader}
	case Follower:
		found = pick(s.was.followers, 0)
	case OtherDCS:
		found = pick(s.was.followers, 1)
	case TwoDCS:
		found = append(pick(s.was.followers, 0), s.was.dcsLeader)
	case AllDCS:
		found = s.Offering(role.DCS)
	case Proxies:
		found = s.Offering(role.Proxy)
	case OneProxy:
		found = pick(s.Offering(role.Proxy), len(s.Offering(role.Proxy))-1)
	case Everything:
		found = s.Names()
	case Others:
		found = slices.DeleteFunc(s.Names(), func(name string) bool { return name == s.was.leader })
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("nobody in this cluster is %q now", target)
	}
	return found, nil
}

// each does something to nodes, all at once.
func each(names []string, do func(name string) error) error {
	failures := make([]error, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() {
			if err := do(name); err != nil {
				failures[i] = fmt.Errorf("%s: %w", name, err)
			}
		})
	}
	wg.Wait()
	return errors.Join(failures...)
}

// do takes one step.
func (s *stage) do(ctx context.Context, step Step) error {
	var on [][]string
	for _, target := range step.On {
		names, err := s.nodes(ctx, target)
		if err != nil {
			return err
		}
		on = append(on, names)
	}
	all := func(do func(string) error) error { return each(on[0], do) }
	inside := func(script string) error {
		return all(func(name string) error { return s.inside(ctx, name, script) })
	}
	switch step.Form {
	case "cut NODES":
		return all(s.cut)
	case "start NODES":
		return s.start(ctx, on[0]...)
	case "stop NODES":
		return all(func(name string) error { return s.Machine(name).PowerOff(ctx) })
	case "reboot NODES":
		err := all(func(name string) error { return s.Machine(name).PowerOff(ctx) })
		return errors.Join(err, s.start(ctx, on[0]...))
	case "replace NODES with disk", "replace NODES without disk":
		if err := all(s.cut); err != nil {
			return err
		}
		if err := all(func(name string) error { return s.Replace(name, strings.HasSuffix(step.Form, "with disk")) }); err != nil {
			return err
		}
		return s.start(ctx, on[0]...)
	case "unplug NODES":
		s.unplug = append(s.unplug, on[0]...)
		return all(func(name string) error { return s.Cable(ctx, name, false) })
	case "plug NODES":
		return all(func(name string) error { return s.Cable(ctx, name, true) })
	case "lose PERCENT from NODES to NODES":
		if err := s.lose(on[0], on[1], step.Percent); err != nil {
			return err
		}
		return s.Lose(ctx, s.losses...)
	case "slow network of NODES to MEGABITS":
		s.slow = append(s.slow, on[0]...)
		return all(func(name string) error { return s.Slow(ctx, name, step.Megabits*1_000_000) })
	case "delay network of NODES by DURATION":
		return all(func(name string) error {
			end, err := s.Delay(ctx, name, step.Duration)
			if err == nil {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.delays = append(s.delays, end)
			}
			return err
		})
	case "heal network":
		return s.healNetwork(ctx)
	case "kill PROGRAM on NODES":
		// The oldest is the server; its children end with it.
		return inside("pkill -KILL -o -x " + programs()[step.Program])
	case "freeze PROGRAM on NODES":
		for _, name := range on[0] {
			s.stopped[name] = append(s.stopped[name], programs()[step.Program])
		}
		return inside("pkill -STOP -x " + programs()[step.Program])
	case "thaw PROGRAM on NODES":
		return inside("pkill -CONT -x " + programs()[step.Program])
	case "restart PROGRAM on NODES":
		return inside("systemctl restart " + programs()[step.Program] + ".service")
	case "pause NODES":
		s.paused = append(s.paused, on[0]...)
		return all(func(name string) error { return s.pause(ctx, name, true) })
	case "resume NODES":
		return all(func(name string) error { return s.pause(ctx, name, false) })
	case "slow cores of NODES to PERCENT":
		for _, name := range on[0] {
			if _, running := s.init(name); !running {
				return fmt.Errorf("%s: cannot slow its cores: it does not run", name)
			}
			s.slowed = append(s.slowed, slowCores(s.Machine(name).Pause, step.Percent))
		}
		return nil
	case "heal cores":
		return s.healCores()
	case "slow disk of NODES to WRITES":
		s.drags = append(s.drags, on[0]...)
		return all(func(name string) error { return s.SlowDisk(name, step.Writes) })
	case "heal disks":
		return s.healDisks()
	case "fill disk of NODES":
		s.filled = append(s.filled, on[0]...)
		return inside(fill)
	case "empty disk of NODES":
		return inside(empty)
	case "take SERVICE away":
		s.away = append(s.away, cloud.Service(step.Service))
		return s.Faults.Set(cloud.Service(step.Service), cloud.Fault{Status: 503})
	case "have SERVICE answer STATUS":
		s.away = append(s.away, cloud.Service(step.Service))
		return s.Faults.Set(cloud.Service(step.Service), cloud.Fault{Status: step.Status})
	case "slow SERVICE by DURATION":
		s.away = append(s.away, cloud.Service(step.Service))
		return s.Faults.Set(cloud.Service(step.Service), cloud.Fault{Delay: step.Duration})
	case "begin a backup":
		return s.beginBackup(ctx, s.was.leader)
	case "end NUMBER segments":
		// A segment of which nothing was used is not ended.
		return s.inside(ctx, s.was.leader, fmt.Sprintf(`for _ in $(seq %d); do
			echo "SELECT pg_logical_emit_message(true, 'drill', 'x'); SELECT pg_switch_wal();"
		done | %s >/dev/null`, step.Number, psql))
	case "corrupt the newest backup":
		return s.corrupt()
	case "wait until TEXT is said":
		return s.said(ctx, step.Text)
	case "bring SERVICE back":
		return s.Faults.Set(cloud.Service(step.Service), cloud.Fault{})
	case "recover etcd from NODES":
		return s.recover(on[0][0])
	case "hand over":
		return s.handOver(ctx, "")
	case "hand over to NODES":
		return s.handOver(ctx, on[0][0])
	case "have certificates of NODES end in DURATION":
		s.ends = true
		if err := s.EndCertificates(step.Duration, on[0]...); err != nil {
			return err
		}
		return s.takeSecrets(ctx)
	case "rotate certificates":
		return s.rotate(ctx, secrets.Rotation{Certificates: true})
	case "rotate passwords":
		return s.rotate(ctx, secrets.Rotation{Passwords: true})
	case "change the spec":
		return s.change(ctx)
	case "wait BOUND":
		pause(ctx, step.Wait.Of(s.ttl))
		return ctx.Err()
	case "wait until whole":
		_, err := s.whole(ctx, s.limit)
		return err
	}
	return fmt.Errorf("nothing does %q", step.Form)
}

// fill leaves not one block on a data disk, as the service's user could: root
// may write more. The file is allocated, and not written: the host's disk stays as
// it is.
const fill = `for dir in /var/lib/postgresql /var/lib/etcd; do
	if mountpoint -q $dir; then
		inner=$(find $dir -mindepth 1 -maxdepth 1 -type d ! -name lost+found | head -n 1)
		user=$(stat -c %U "$inner")
		exec setpriv --reuid="$user" --regid="$user" --init-groups sh -c 'free=$(df -B1 --output=avail "$1" | tail -n 1)
			filler=$(mktemp -u "$1/filler.XXXXXX")
			while [ "$free" -gt 0 ] && ! fallocate -l "$free" "$filler"; do free=$((free - 65536)); done
			dd if=/dev/zero bs=4096 count=16 of="$filler.rest" || :' sh "$inner" 2>/dev/null
	fi
done
echo 'this machine has no data disk' >&2
exit 1`

// empty takes that away, on a machine that has just started, too.
const empty = `timeout 40 sh -c 'until mountpoint -q /var/lib/postgresql || mountpoint -q /var/lib/etcd; do sleep 0.2; done' || :
rm -f /var/lib/postgresql/*/filler* /var/lib/etcd/*/filler*`

// slowCores lets a machine run for a part of its time only, and gives what ends that.
func slowCores(pause func(stop bool) error, percent int) (end func() error) {
	const turn = 400 * time.Millisecond
	stop, ended := make(chan struct{}), make(chan error)
	go func() {
		runs := turn * time.Duration(percent) / 100
		var failed error
		for frozen, rest := false, runs; failed == nil; frozen, rest = !frozen, turn-rest {
			failed = pause(frozen)
			select {
			case <-time.After(rest):
				continue
			case <-stop:
			}
			break
		}
		ended <- errors.Join(failed, pause(false))
	}()
	return func() error {
		close(stop)
		return <-ended
	}
}

func (s *stage) healCores() error {
	var errs []error
	for _, end := range s.slowed {
		errs = append(errs, end())
	}
	s.slowed = nil
	return errors.Join(errs...)
}

func (s *stage) healDisks() error {
	defer func() { s.drags = nil }()
	return each(s.drags, func(name string) error { return s.SlowDisk(name, 0) })
}

// pause stops a machine, as the cloud does while it moves it to another host, or
// has it go on. A paused machine's kernel answers nobody either; a lab's is the
// host's, so its cable is pulled.
func (s *stage) pause(ctx context.Context, name string, stop bool) error {
	err := s.Cable(ctx, name, !stop)
	if _, running := s.init(name); running {
		err = errors.Join(err, s.Machine(name).Pause(stop))
	}
	return err
}

func (s *stage) cut(name string) error { return s.Machine(name).PowerCut() }

// start powers on those that are off.
func (s *stage) start(ctx context.Context, names ...string) error {
	off := slices.DeleteFunc(slices.Clone(names), func(name string) bool { _, running := s.init(name); return running })
	if len(off) == 0 {
		return nil
	}
	if err := s.StartAll(ctx, off...); err != nil {
		return err
	}
	for _, name := range off {
		s.machines = append(s.machines, s.Machine(name))
	}
	return nil
}

func (s *stage) inside(ctx context.Context, name, script string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	_, err := s.Machine(name).Exec(ctx, "sh", "-c", script)
	return err
}

func (s *stage) lose(from, to []string, percent int) error {
	for _, a := range from {
		for _, b := range to {
			if a == b {
				continue
			}
			_, source, err := s.Place(a)
			if err != nil {
				return err
			}
			_, target, err := s.Place(b)
			if err != nil {
				return err
			}
			s.losses = append(s.losses, netns.Loss{From: source, To: target, Percent: percent})
		}
	}
	return nil
}

// handOver asks the node that leads, with its own certificate and password, for
// what an operator asks it: to hand over to a node, or to whom Patroni likes.
func (s *stage) handOver(ctx context.Context, to string) error {
	order := map[string]string{"leader": s.was.leader}
	if to != "" {
		order["candidate"] = to
	}
	body, err := json.Marshal(order)
	if err != nil {
		return err
	}
	return s.inside(ctx, s.was.leader, `. /run/pgha/identity.env; cd /run/pgha/secrets
		said=$(sed -n 's/^PATRONI_RESTAPI_PASSWORD=\(.*\)$/user = "patroni:\1"/p' patroni.env |
			curl -q -s -S --max-time 30 --config - --cacert ca.crt --cert node.crt --key node.key --resolve "$NODE_FQDN:8008:$NODE_ADDRESS" \
			-w ' %{http_code}' --json '`+string(body)+`' "https://$NODE_FQDN:8008/switchover")
		case $said in *' 200') ;; *) echo "$said" >&2; exit 1 ;; esac`)
}

// recover gives all members the order that one of them goes on alone; that one gets
// it last.
func (s *stage) recover(survivor string) error {
	c := s.Cluster()
	order := fmt.Sprintf("%s:d%d:%s", c.Token(), time.Now().Unix(), survivor)
	members := slices.DeleteFunc(s.Offering(role.DCS), func(name string) bool { return name == survivor })
	for _, name := range append(members, survivor) {
		if err := s.SetAttribute(name, "pgha-recover", order); err != nil {
			return err
		}
	}
	return nil
}

// rotate makes secrets anew, and has machines look for them now, and not within six
// minutes.
func (s *stage) rotate(ctx context.Context, r secrets.Rotation) error {
	if err := s.Rotate(r); err != nil {
		return err
	}
	s.ends = false
	return s.takeSecrets(ctx)
}

// takeSecrets has machines look for secrets that have changed.
func (s *stage) takeSecrets(ctx context.Context) error {
	var names []string
	c := s.Cluster()
	for _, g := range c.WithSecrets() {
		for _, n := range g.Nodes() {
			names = append(names, n.Name)
		}
	}
	return each(names, func(name string) error {
		return s.inside(ctx, name, "systemctl start pgha-secrets-refresh.service")
	})
}

// change admits one more network of clients, and the next time that it is called
// admits it no more: every machine gets new user-data.
func (s *stage) change(ctx context.Context) error {
	more := netip.MustParsePrefix("10.77.0.0/24")
	c := s.Cluster()
	clients := slices.DeleteFunc(slices.Clone(c.Access.Clients), func(p netip.Prefix) bool { return p == more })
	if len(clients) == len(c.Access.Clients) {
		clients = append(clients, more)
	}
	c.Access.Clients = clients
	return s.Refresh(ctx, &c)
}

// heal undoes what a round has done and not undone, whatever it was.
func (s *stage) heal(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
	defer cancel()
	var errs []error
	for _, service := range s.away {
		errs = append(errs, s.Faults.Set(service, cloud.Fault{}))
	}
	errs = append(errs, s.healNetwork(ctx), s.healCores(), s.healDisks())
	for _, name := range s.unplug {
		errs = append(errs, s.Cable(ctx, name, true))
	}
	for _, name := range s.paused {
		errs = append(errs, s.pause(ctx, name, false))
	}
	for name, processes := range s.stopped {
		if _, running := s.init(name); running {
			errs = append(errs, s.inside(ctx, name, "pkill -CONT -x '"+strings.Join(processes, "|")+"' || :"))
		}
	}
	errs = append(errs, s.start(ctx, s.Names()...))
	// Only now: a disk is still full when its machine starts again that lost its power.
	errs = append(errs, each(s.filled, func(name string) error { return s.inside(ctx, name, empty) }))
	if s.ends {
		errs = append(errs, s.rotate(ctx, secrets.Rotation{Certificates: true}))
	}
	return errors.Join(errs...)
}

// healNetwork ends what was done to packets. Cables stay as they are.
func (s *stage) healNetwork(ctx context.Context) error {
	var errs []error
	for _, end := range s.delays {
		errs = append(errs, end())
	}
	for _, name := range s.slow {
		errs = append(errs, s.Slow(ctx, name, 0))
	}
	if len(s.losses) > 0 {
		errs = append(errs, s.Lose(ctx))
	}
	s.losses, s.slow, s.delays = nil, nil, nil
	return errors.Join(errs...)
}
