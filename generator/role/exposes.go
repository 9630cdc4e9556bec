package role

import (
	"fmt"
	"net/netip"
)

// Exposes says whom a network lets in that is a large part of the internet:
// everybody, or how many. It is empty for a network of at most 2^24 addresses
// and, of IPv6, for one that a provider may have.
func Exposes(p netip.Prefix) string {
	switch {
	case p.Bits() == 0:
		return "everybody"
	case p.Addr().Is4() && p.Bits() < 8:
		return fmt.Sprintf("%d addresses of the internet", uint64(1)<<(32-p.Bits()))
	case p.Addr().Is6() && p.Bits() < 16:
		return fmt.Sprintf("2^%d addresses of the internet", 128-p.Bits())
	}
	return ""
}

// notInternet are the addresses that nobody on the internet has (the registry of
// IPv4 special-purpose addresses).
var notInternet = []string{
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
	"172.16.0.0/12", "192.168.0.0/16", "224.0.0.0/3",
}

// everybody says whether all of the internet is in the networks together.
func everybody(networks []netip.Prefix) bool {
	all := append([]netip.Prefix(nil), networks...)
	for _, n := range notInternet {
		all = append(all, netip.MustParsePrefix(n))
	}
	return covered(netip.MustParsePrefix("0.0.0.0/0"), all)
}

// covered says whether each address of a network is in one of the others. Only
// those that begin in it are asked about its halves, so it ends soon.
func covered(p netip.Prefix, by []netip.Prefix) bool {
	var within []netip.Prefix
	for _, other := range by {
		switch {
		case other.Bits() <= p.Bits() && other.Contains(p.Addr()):
			return true
		case p.Contains(other.Addr()):
			within = append(within, other)
		}
	}
	if len(within) == 0 {
		return false
	}
	low := netip.PrefixFrom(p.Addr(), p.Bits()+1)
	high := p.Addr().As4()
	high[p.Bits()/8] |= 0x80 >> (p.Bits() % 8)
	return covered(low, within) && covered(netip.PrefixFrom(netip.AddrFrom4(high), p.Bits()+1), within)
}
