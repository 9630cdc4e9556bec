package cloud_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"pgha-gen/lab/cloud"
)

func question(name string, kind uint16) *dns.Msg {
	return new(dns.Msg).SetQuestion(name, kind)
}

// writer keeps what a handler answers.
type writer struct {
	dns.ResponseWriter // nil: nothing else of it may be used
	msg                *dns.Msg
}

func (w *writer) WriteMsg(m *dns.Msg) error { w.msg = m; return nil }

func query(h dns.Handler, m *dns.Msg) *dns.Msg {
	var w writer
	h.ServeDNS(&w, m)
	return w.msg
}

func serveDNS(t *testing.T, h dns.Handler) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", conn.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*dns.Server{{PacketConn: conn, Handler: h}, {Listener: listener, Handler: h}} {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		done := make(chan error, 1)
		go func() { done <- s.ActivateAndServe() }()
		<-started
		t.Cleanup(func() {
			if err := errors.Join(s.Shutdown(), <-done); err != nil {
				t.Error(err)
			}
		})
	}
	return conn.LocalAddr().String()
}

const lockboxName = "payload.lockbox.api.cloud.yandex.net"

func newDNS(t *testing.T) (*cloud.Cloud, dns.Handler) {
	t.Helper()
	c := newCloud(t, newClock().Now, etcd1(), patroni1())
	if err := c.SetName(lockboxName, netip.MustParseAddr("169.254.169.254")); err != nil {
		t.Fatal(err)
	}
	return c, c.DNS("ru-central1.internal", "lab.example.")
}

func TestDNS(t *testing.T) {
	const a = "\t60\tIN\tA\t"
	tests := []struct {
		name   string
		reason string
		q      string
		kind   uint16
		rcode  int
		want   []string
	}{
		{"host name", "once, though it is <name>.<domain> too", "demo-etcd-1.ru-central1.internal.", dns.TypeA, dns.RcodeSuccess, []string{"demo-etcd-1.ru-central1.internal." + a + "127.0.0.2"}},
		{"other domain", "", "demo-patroni-1.lab.example.", dns.TypeA, dns.RcodeSuccess, []string{"demo-patroni-1.lab.example." + a + "127.0.0.3"}},
		{"capitals", "DNS does not see them", "Demo-ETCD-1.lab.example.", dns.TypeA, dns.RcodeSuccess, []string{"demo-etcd-1.lab.example." + a + "127.0.0.2"}},
		{"fixed name", "", lockboxName + ".", dns.TypeA, dns.RcodeSuccess, []string{lockboxName + "." + a + "169.254.169.254"}},
		{"any", "", "demo-etcd-1.lab.example.", dns.TypeANY, dns.RcodeSuccess, []string{"demo-etcd-1.lab.example." + a + "127.0.0.2"}},
		{"way back", "to the host name", "3.0.0.127.in-addr.arpa.", dns.TypePTR, dns.RcodeSuccess, []string{"3.0.0.127.in-addr.arpa.\t60\tIN\tPTR\tdemo-patroni-1.ru-central1.internal."}},
		{"no way back", "", "9.0.0.127.in-addr.arpa.", dns.TypePTR, dns.RcodeNameError, nil},
		{"AAAA of a known name", "NXDOMAIN would deny the A too", "demo-etcd-1.ru-central1.internal.", dns.TypeAAAA, dns.RcodeSuccess, nil},
		{"SRV of a known name", "", "demo-etcd-1.ru-central1.internal.", dns.TypeSRV, dns.RcodeSuccess, nil},
		{"A of an address", "", "3.0.0.127.in-addr.arpa.", dns.TypeA, dns.RcodeSuccess, nil},
		{"unknown name", "", "demo-etcd-9.ru-central1.internal.", dns.TypeA, dns.RcodeNameError, nil},
		{"short name", "the machine's search domain makes it long", "demo-etcd-1.", dns.TypeA, dns.RcodeNameError, nil},
		{"below a known name", "", "x.demo-etcd-1.lab.example.", dns.TypeA, dns.RcodeNameError, nil},
		{"above known names", "it exists and is empty", "ru-central1.internal.", dns.TypeA, dns.RcodeSuccess, nil},
		{"the world", "there is none", "www.example.com.", dns.TypeA, dns.RcodeNameError, nil},
		{"cloud-init's probe", "it asks for names that nobody can have", "does-not-exist.example.com.", dns.TypeA, dns.RcodeNameError, nil},
	}
	_, h := newDNS(t)
	server := serveDNS(t, h)
	for _, tt := range tests {
		for _, network := range []string{"udp", "tcp"} {
			t.Run(tt.name+" "+network, func(t *testing.T) {
				client := dns.Client{Net: network, Timeout: 5 * time.Second}
				m := question(tt.q, tt.kind)
				m.SetEdns0(1232, false)
				got, _, err := client.ExchangeContext(t.Context(), m, server)
				if err != nil {
					t.Fatal(err)
				}
				var answer []string
				for _, rr := range got.Answer {
					answer = append(answer, rr.String())
				}
				if diff := cmp.Diff(tt.want, answer); diff != "" {
					t.Errorf("%s (-want +got):\n%s", tt.reason, diff)
				}
				if got.Rcode != tt.rcode {
					t.Errorf("%s, want %s: %s", dns.RcodeToString[got.Rcode], dns.RcodeToString[tt.rcode], tt.reason)
				}
				if !got.Authoritative || !got.RecursionAvailable || got.IsEdns0() == nil {
					t.Errorf("flags or EDNS are missing:\n%v", got)
				}
			})
		}
	}
}

func TestDNSRefuses(t *testing.T) {
	_, h := newDNS(t)
	notify := question("demo-etcd-1.lab.example.", dns.TypeA)
	notify.Opcode = dns.OpcodeNotify
	chaos := question("version.bind.", dns.TypeTXT)
	chaos.Question[0].Qclass = dns.ClassCHAOS
	two := question("a.", dns.TypeA)
	two.Question = append(two.Question, two.Question[0])
	for name, tt := range map[string]struct {
		q    *dns.Msg
		want int
	}{
		"not a query":   {notify, dns.RcodeNotImplemented},
		"no question":   {new(dns.Msg), dns.RcodeFormatError},
		"two questions": {two, dns.RcodeFormatError},
		"class":         {chaos, dns.RcodeRefused},
	} {
		got := query(h, tt.q)
		if got.Rcode != tt.want || len(got.Answer) != 0 || !got.Response || got.IsEdns0() != nil {
			t.Errorf("%s: want only %s, got\n%v", name, dns.RcodeToString[tt.want], got)
		}
	}
}

func TestDNSFollowsTheCloud(t *testing.T) {
	c, h := newDNS(t)
	see := func(name string, want ...string) {
		t.Helper()
		var got []string
		for _, rr := range query(h, question(name, dns.TypeA)).Answer {
			got = append(got, rr.(*dns.A).A.String())
		}
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	// A machine is replaced by one with its name and another address.
	see("demo-etcd-1.ru-central1.internal.", "127.0.0.2")
	c.Remove("fhm1")
	see("demo-etcd-1.ru-central1.internal.")
	in := etcd1()
	in.ID, in.Address = "fhm7", netip.MustParseAddr("127.0.0.7")
	if err := c.Put(in); err != nil {
		t.Fatal(err)
	}
	see("demo-etcd-1.ru-central1.internal.", "127.0.0.7")

	if err := c.SetName("LB.lab.example", netip.MustParseAddr("127.0.0.8"), netip.MustParseAddr("127.0.0.9")); err != nil {
		t.Fatal(err)
	}
	see("lb.lab.example.", "127.0.0.8", "127.0.0.9")
	if err := c.SetName("lb.lab.example."); err != nil {
		t.Fatal(err)
	}
	see("lb.lab.example.")
}

func TestSetNameRefuses(t *testing.T) {
	ok := netip.MustParseAddr("127.0.0.8")
	for _, tt := range []struct {
		name, reason string
		address      netip.Addr
		want         string
	}{
		{"", "nothing to ask for", ok, `name "" is not a host name`},
		{".", "the root is nobody's", ok, `name "." is not a host name`},
		{strings.Repeat("a", 64), "a label has 63 bytes", ok, ` is not a host name`},
		{"a.example", "the lab has no IPv6", netip.MustParseAddr("::1"), `name "a.example": address "::1" is not an IPv4 address`},
		{"a.example", "", netip.Addr{}, `name "a.example": address "invalid IP" is not an IPv4 address`},
	} {
		if err := newCloud(t, newClock().Now).SetName(tt.name, tt.address); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: error %v, want %q: %s", tt.name, err, tt.want, tt.reason)
		}
	}
}

func TestGoResolver(t *testing.T) {
	_, h := newDNS(t)
	server := serveDNS(t, h)
	resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, server)
	}}
	addresses, err := resolver.LookupNetIP(t.Context(), "ip", lockboxName+".")
	if diff := cmp.Diff([]string{"169.254.169.254"}, texts(addresses)); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	names, err := resolver.LookupAddr(t.Context(), "127.0.0.3")
	if diff := cmp.Diff([]string{"demo-patroni-1.ru-central1.internal."}, names); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	start := time.Now()
	_, err = resolver.LookupHost(t.Context(), "demo-etcd-9.ru-central1.internal.")
	var missing *net.DNSError
	if !errors.As(err, &missing) || !missing.IsNotFound || time.Since(start) > 3*time.Second {
		t.Errorf("an unknown name: %v after %v, want not found, at once", err, time.Since(start))
	}
}

func texts(addresses []netip.Addr) []string {
	var s []string
	for _, a := range addresses {
		s = append(s, a.String())
	}
	return s
}

// Whatever name is asked for, there is an answer, and it can be sent.
func FuzzDNS(f *testing.F) {
	f.Add("demo-etcd-1.ru-central1.internal.", uint16(dns.TypeA))
	f.Add(".", uint16(dns.TypeNS))
	f.Add(`a\.b\000.internal.`, uint16(dns.TypeANY))
	c := cloud.New(newClock().Now, brokenRandom(), nil, nil)
	if err := c.Put(etcd1()); err != nil {
		f.Fatal(err)
	}
	h := c.DNS("ru-central1.internal")
	f.Fuzz(func(t *testing.T, name string, kind uint16) {
		q := new(dns.Msg)
		q.Question = []dns.Question{{Name: name, Qtype: kind, Qclass: dns.ClassINET}}
		wire, err := q.Pack()
		if err != nil || q.Unpack(wire) != nil {
			t.Skip()
		}
		m := query(h, q)
		if _, err := m.Pack(); err != nil {
			t.Errorf("%q: %v", name, err)
		}
		if len(m.Answer) > 0 && m.Rcode != dns.RcodeSuccess {
			t.Errorf("%q: an answer with %s", name, dns.RcodeToString[m.Rcode])
		}
	})
}
