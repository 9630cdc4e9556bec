package packer_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/internal/testkit"
	"pgha-gen/packer/packertest"
)

const (
	soon  = 5 * time.Second        // for an answer that comes
	never = 700 * time.Millisecond // for one that does not: nothing is lost on this wire
)

// firewall is a machine behind a wire, with the rules and a resolver that knows
// what is in hosts/.
type firewall struct {
	*packertest.Machine
	*packertest.Wire
	t     *testing.T
	hosts string
}

func newFirewall(t *testing.T) *firewall {
	t.Helper()
	testkit.Need(t, "nft")
	f := &firewall{Machine: packertest.New(t, scripts), Wire: packertest.NewWire(t), t: t, hosts: t.TempDir()}
	rules := testkit.Text(t, scripts+"/firewall.nft")
	f.Write(f.Lib+"/firewall.nft", rules)
	f.Cluster()
	f.Identity()
	f.Fake("getent", fmt.Sprintf(`[ "$1" = ahostsv4 ] && exec cat %s/"$2"`, f.hosts))
	for _, port := range []int{5432, 8008} {
		f.Listen(port)
	}
	return f
}

// run runs firewall.sh in the machine's network, with this access file.
func (f *firewall) run(mode, access string) packertest.Result {
	f.t.Helper()
	if access != "" {
		f.Write(f.Etc+"/access", access)
	}
	var got packertest.Result
	f.Inside(func() { got = f.Boot("firewall.sh", mode) })
	return got
}

// admits are those who get in, as port<-last part of their address.
func (f *firewall) admits() string {
	f.t.Helper()
	var all [2 * 3]string
	var knocks sync.WaitGroup
	for i := range all {
		port, from := []int{5432, 8008}[i/3], 2+i%3
		knocks.Go(func() {
			if c := f.Dial(from, port, never); c != nil {
				c.Close()
				all[i] = fmt.Sprintf("%d<-%d", port, from)
			}
		})
	}
	knocks.Wait()
	return strings.Join(strings.Fields(strings.Join(all[:], " ")), " ")
}

func TestFirewall(t *testing.T) {
	const ok = "demo-etcd-1 firewall ok "
	tests := []struct {
		name, reason string
		mode, access string
		hosts        map[string]string
		console      string
		admits       string
	}{
		{name: "first boot", reason: "user-data is not there yet: nobody", mode: "close"},
		{name: "later boot", reason: "before the network, those whom the last user-data had by address; a name nobody could look up yet",
			mode: "close", access: "admit 5432 10.77.0.2/32\nadmit 5432 three.internal\n", hosts: map[string]string{"three.internal": "10.77.0.3 STREAM\n"},
			admits: "5432<-2"},
		{name: "broken file at a later boot", reason: "half a file opens nothing", mode: "close", access: "admit 5432 10.77.0.2/32\nadmit 5432\n"},
		{name: "broken rules at a later boot", reason: "what nft refuses must not leave the machine without any", mode: "close",
			access: "admit 5432 10.77.0.2/32\nadmit 99999 10.77.0.3\n"},
		{name: "no user-data", reason: "the step that opens needs somebody to open to", mode: "open",
			console: "- firewall fail there is no ETC/access: user-data did not reach this machine\n"},
		{name: "each port its own", reason: "who is named for one port gets no other", mode: "open",
			access:  "admit 5432 10.77.0.2/32\nadmit 5432 10.77.0.3\nadmit 8008 10.77.0.4/32\n",
			console: ok + "3 admitted, all others refused\n", admits: "5432<-2 5432<-3 8008<-4"},
		{name: "network", reason: "a prefix ends where it says: .2 and .3", mode: "open", access: "admit 5432 10.77.0.2/31\n",
			console: ok + "1 admitted, all others refused\n", admits: "5432<-2 5432<-3"},
		{name: "one within another", reason: "HAProxy is often in the clients' network, and nft refuses what overlaps, in both orders", mode: "open",
			access:  "admit 5432 10.77.0.2/32\nadmit 5432 10.77.0.2\nadmit 5432 10.77.0.0/24\nadmit 5432 10.77.0.3/32\nadmit 8008 10.77.0.3/32\nadmit 8008 10.77.0.2/31\n",
			console: ok + "6 admitted, all others refused\n", admits: "5432<-2 5432<-3 5432<-4 8008<-2 8008<-3"},
		{name: "everybody", reason: "all of the internet contains the others", mode: "open", access: "admit 5432 0.0.0.0/0\nadmit 5432 255.255.255.255/32\n",
			console: ok + "2 admitted, all others refused\n", admits: "5432<-2 5432<-3 5432<-4"},
		{name: "names", reason: "each address of a name is let in; a name that nobody knows yet holds up nobody", mode: "open",
			access:  "admit 5432 p.internal\nadmit 8008 unknown.internal\nadmit 8008 10.77.0.4/32\n",
			hosts:   map[string]string{"p.internal": "10.77.0.2 STREAM p.internal\n10.77.0.2 DGRAM\n10.77.0.3 STREAM\n"},
			console: ok + "3 admitted, all others refused\n", admits: "5432<-2 5432<-3 8008<-4"},
		{name: "strange answer of a resolver", reason: "what is no address is not handed to nft", mode: "open", access: "admit 5432 p.internal\n",
			hosts:   map[string]string{"p.internal": "0.0.0.0/0;flush STREAM\n10.77.0.2 STREAM\n"},
			console: ok + "1 admitted, all others refused\n", admits: "5432<-2"},
	}
	bad := func(name, reason, line string) {
		tests = append(tests, struct {
			name, reason string
			mode, access string
			hosts        map[string]string
			console      string
			admits       string
		}{
			name: name, reason: reason, mode: "open", access: "admit 5432 10.77.0.2/32\n" + line + "\n",
			console: "- firewall fail ETC/access has the line \"" + line + "\", which is neither admit PORT SOURCE nor limit PORT NUMBER: render user-data again\n",
		})
	}
	bad("word", "an order that is not known", "permit 5432 10.77.0.3/32")
	bad("port", "a port is a number", "admit postgres 10.77.0.3/32")
	bad("octet", "an octet has an end", "admit 5432 10.77.0.256")
	bad("prefix", "so has a prefix", "admit 5432 10.77.0.0/33")
	bad("rule", "nft must read data only", "admit 5432 10.77.0.3};flush")
	bad("command", "nothing is run", "admit 5432 $(reboot)")
	bad("two words", "one is missing", "admit 5432")
	bad("four words", "one is too many", "admit 5432 10.77.0.3/32 10.77.0.4/32")
	bad("limit", "a limit is a number", "limit 5432 many")
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := newFirewall(t)
			for name, text := range tc.hosts {
				f.Write(filepath.Join(f.hosts, name), text)
			}
			if tc.mode == "open" {
				if got := f.run("close", ""); got.Status != 0 {
					t.Fatal(got.Output)
				}
			}
			got := f.run(tc.mode, tc.access)
			if diff := cmp.Diff(strings.ReplaceAll(tc.console, "ETC", f.Etc), got.Console); diff != "" {
				t.Errorf("%s: console (-want +got):\n%s\n%s", tc.reason, diff, got.Output)
			}
			if wantOK := !strings.Contains(tc.console, " fail "); wantOK != (got.Status == 0) {
				t.Errorf("%s: status %d", tc.reason, got.Status)
			}
			if diff := cmp.Diff(tc.admits, f.admits()); diff != "" {
				t.Errorf("%s: who gets in (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// dial connects, or fails the test.
func (f *firewall) dial(from, port int) net.Conn {
	f.t.Helper()
	c := f.Dial(from, port, soon)
	if c == nil {
		f.t.Fatalf("port %d does not let in 10.77.0.%d", port, from)
	}
	return c
}

// What one source holds is its own affair: the others still get in.
func TestFirewallLimit(t *testing.T) {
	f := newFirewall(t)
	if got := f.run("open", "admit 5432 10.77.0.0/24\nadmit 8008 10.77.0.0/24\nlimit 5432 2\n"); got.Status != 0 {
		t.Fatal(got.Output)
	}
	first := f.dial(2, 5432)
	f.dial(2, 5432)
	if f.Dial(2, 5432, never) != nil {
		t.Error("a third connection from one source gets in, want at most two")
	}
	f.dial(3, 5432)
	f.dial(2, 8008)
	if !packertest.Echoes(first) {
		t.Error("the limit cut a connection that was there before")
	}
}

// Rules that are loaded again hold for new connections.
func TestFirewallAgain(t *testing.T) {
	f := newFirewall(t)
	if got := f.run("open", "admit 5432 10.77.0.2/32\n"); got.Status != 0 {
		t.Fatal(got.Output)
	}
	held := f.dial(2, 5432)
	if !packertest.Echoes(held) {
		t.Fatal("the connection carries nothing")
	}
	if got := f.run("open", "admit 5432 10.77.0.3/32\n"); got.Status != 0 {
		t.Fatal(got.Output)
	}
	if !packertest.Echoes(held) {
		t.Error("a connection was cut when the rules were loaded again")
	}
	if diff := cmp.Diff("5432<-3", f.admits()); diff != "" {
		t.Errorf("who gets in (-want +got):\n%s", diff)
	}
}

// A name keeps its last address while nobody can look it up, and takes over a
// new one.
func TestFirewallFollow(t *testing.T) {
	f := newFirewall(t)
	name := filepath.Join(f.hosts, "p.internal")
	f.Write(name, "10.77.0.2 STREAM p.internal\n")
	if got := f.run("open", "admit 5432 p.internal\n"); got.Status != 0 {
		t.Fatal(got.Output)
	}
	if _, err := os.Stat(f.Run + "/access.names"); err != nil {
		t.Error("there are names to follow, and nothing says so")
	}

	// Ends the script at its second sleep: what was changed at the first was seen.
	turn := func(change string) string {
		t.Helper()
		f.Fake("sleep", fmt.Sprintf(`echo >>%[1]q/slept; case $(wc -l <%[1]q/slept) in 1) %[2]s ;; *) rm %[1]q/slept; kill "$PPID" ;; esac`, f.hosts, change))
		f.run("follow", "")
		return f.admits()
	}
	if diff := cmp.Diff("5432<-2", turn("rm "+name)); diff != "" {
		t.Errorf("a name that is not known any more: who gets in (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff("5432<-3", turn("echo 10.77.0.3 STREAM >"+name)); diff != "" {
		t.Errorf("a name with another address: who gets in (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff("5432<-3", turn(": >"+name)); diff != "" {
		t.Errorf("a name without an address: who gets in (-want +got):\n%s", diff)
	}
}

// No names, nothing to follow: the unit's condition.
func TestFirewallFollowsNobody(t *testing.T) {
	f := newFirewall(t)
	if got := f.run("open", "admit 5432 10.77.0.2\n"); got.Status != 0 {
		t.Fatal(got.Output)
	}
	if _, err := os.Stat(f.Run + "/access.names"); err == nil {
		t.Error("access.names is there without a name")
	}
}

// The token of the machine's service account is root's alone.
func TestFirewallMetadata(t *testing.T) {
	f := newFirewall(t)
	f.Outside(func() {
		l, err := net.Listen("tcp4", "169.254.169.254:80")
		if err != nil {
			t.Fatal(err)
		}
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "token") }))
		s.Listener.Close()
		s.Listener = l
		s.Start()
		t.Cleanup(s.Close)
	})
	ask := func(uid uint32) string {
		var out []byte
		f.Inside(func() {
			cmd := exec.Command("curl", "-q", "-s", "--noproxy", "*", "--max-time", "5", "http://169.254.169.254/")
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
			out, _ = cmd.Output() // refused is what one of them shall be
		})
		return string(out)
	}
	if got := ask(65534); got != "token" {
		t.Fatalf("without a firewall, metadata answers %q: this test shows nothing", got)
	}
	for _, mode := range []string{"close", "open"} {
		if got := f.run(mode, "admit 5432 10.77.0.2\n"); got.Status != 0 {
			t.Fatal(got.Output)
		}
		if got := ask(65534); got != "" {
			t.Errorf("%s: metadata answers a service's user with %q", mode, got)
		}
		if got := ask(0); got != "token" {
			t.Errorf("%s: metadata answers root with %q", mode, got)
		}
	}
}

func TestFirewallMode(t *testing.T) {
	m := packertest.New(t, scripts)
	got := m.Boot("firewall.sh", "wide")
	if want := "- firewall fail firewall.sh wide: want close, open, follow or check\n"; got.Console != want || got.Status != 1 {
		t.Errorf("status %d, console %q, want 1, %q", got.Status, got.Console, want)
	}
}

// Rules that nft does not take leave those that are loaded.
func TestFirewallRefused(t *testing.T) {
	f := newFirewall(t)
	if got := f.run("open", "admit 5432 10.77.0.2\n"); got.Status != 0 {
		t.Fatal(got.Output)
	}
	got := f.run("open", "admit 5432 10.77.0.3\nadmit 99999 10.77.0.4\n")
	if !strings.HasPrefix(got.Console, "demo-etcd-1 firewall fail nft does not take the rules: ") || got.Status != 1 {
		t.Errorf("status %d, console %q", got.Status, got.Console)
	}
	if diff := cmp.Diff("5432<-2", f.admits()); diff != "" {
		t.Errorf("who gets in (-want +got):\n%s", diff)
	}
}

func TestFirewallRules(t *testing.T) {
	testkit.Need(t, "nft")
	w := packertest.NewWire(t)
	w.Inside(func() {
		if out, err := exec.Command("nft", "-c", "-f", scripts+"/firewall.nft").CombinedOutput(); err != nil {
			t.Errorf("nft -c: %v\n%s", err, out)
		}
	})
}
