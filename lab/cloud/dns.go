package cloud

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// The TTL of the records that Yandex Cloud makes for machines is not
// documented. A minute is short enough to see a replaced machine in a drill,
// and long enough to see who does not ask again.
const ttl = 60

// SetName gives a fixed name addresses in every DNS of this cloud, as
// payload.lockbox.api.cloud.yandex.net; no address takes the name away. It
// refuses what is no host name, and addresses that are not IPv4.
func (c *Cloud) SetName(name string, addresses ...netip.Addr) error {
	if _, ok := dns.IsDomainName(name); !ok || strings.Trim(name, ".") == "" {
		return fmt.Errorf("name %q is not a host name", name)
	}
	for _, a := range addresses {
		if !a.Is4() {
			return fmt.Errorf("name %q: address %q is not an IPv4 address", name, a)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(addresses) == 0 {
		delete(c.names, dns.CanonicalName(name))
		return nil
	}
	c.names[dns.CanonicalName(name)] = slices.Clone(addresses)
	return nil
}

// DNS is the resolver of the subnet, to be served at its second address. It
// knows each instance by its host name and as <name>.<domain>, the way back
// from its address, and the names of SetName. It is alone in the world: every
// other name, in any zone, does not exist, and it says so at once.
func (c *Cloud) DNS(domains ...string) dns.Handler {
	domains = slices.Clone(domains)
	return dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) {
		// A query has no context that could end, so there is no error.
		status, _ := c.delay(context.Background(), DNSService)
		m := new(dns.Msg)
		m.SetReply(r)
		m.RecursionAvailable = true // or a stub resolver looks for another server
		if r.IsEdns0() != nil {
			m.SetEdns0(dns.DefaultMsgSize, false)
		}
		switch {
		case status != 0:
			m.Rcode = dns.RcodeServerFailure
		case r.Opcode != dns.OpcodeQuery:
			m.Rcode = dns.RcodeNotImplemented
		case len(r.Question) != 1:
			m.Rcode = dns.RcodeFormatError
		case r.Question[0].Qclass != dns.ClassINET:
			m.Rcode = dns.RcodeRefused
		default:
			m.Authoritative = true
			m.Rcode, m.Answer = resolve(c.records(domains), r.Question[0])
		}
		// The asker is gone, or sends again: nothing is left to do here.
		_ = w.WriteMsg(m)
	})
}

// records is everything that the DNS knows now.
func (c *Cloud) records(domains []string) []dns.RR {
	var all []dns.RR
	address := func(name string, a netip.Addr) {
		all = append(all, &dns.A{Hdr: header(name, dns.TypeA), A: a.AsSlice()})
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, addresses := range c.names {
		for _, a := range addresses {
			address(name, a)
		}
	}
	for _, in := range c.instances {
		hostname := dns.CanonicalName(in.Hostname)
		names := []string{hostname}
		for _, domain := range domains {
			names = append(names, dns.CanonicalName(in.Name+"."+domain))
		}
		slices.Sort(names)
		for _, name := range slices.Compact(names) {
			address(name, in.Address)
		}
		a := in.Address.As4()
		back := fmt.Sprintf("%d.%d.%d.%d.in-addr.arpa.", a[3], a[2], a[1], a[0])
		all = append(all, &dns.PTR{Hdr: header(back, dns.TypePTR), Ptr: hostname})
	}
	return all
}

func header(name string, kind uint16) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: kind, Class: dns.ClassINET, Ttl: ttl}
}

func resolve(known []dns.RR, q dns.Question) (rcode int, answer []dns.RR) {
	name := dns.CanonicalName(q.Name)
	rcode = dns.RcodeNameError
	for _, rr := range known {
		// A name above a known one exists, empty: without it a resolver may
		// take everything below for missing (RFC 8020).
		if dns.IsSubDomain(name, rr.Header().Name) {
			rcode = dns.RcodeSuccess
		}
		if rr.Header().Name == name && (q.Qtype == rr.Header().Rrtype || q.Qtype == dns.TypeANY) {
			answer = append(answer, rr)
		}
	}
	return rcode, answer
}
