//go:build linux

package netns

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
)

// Loss is packets that get lost on their way from one address to another, and
// not on the way back.
type Loss struct {
	From, To netip.Addr
	Percent  int // 100: all of them
}

// Lose makes the bridge lose packets between machines, and no others than these.
// It replaces what was lost before; with nothing to lose, all arrive.
func (n *Network) Lose(ctx context.Context, losses ...Loss) error {
	rules, err := lossRules(losses)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "ip", "netns", "exec", n.Name, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot lose packets in network %q: %w: %s", n.Name, err, bytes.TrimSpace(out))
	}
	return nil
}

// lossRules is the input of nft. Machines of one subnet are bridged, others are
// routed. A table is made before it is deleted: nft refuses to delete one that is
// not there.
func lossRules(losses []Loss) (string, error) {
	var rules strings.Builder
	for _, l := range losses {
		if !l.From.Is4() || !l.To.Is4() || l.From == l.To {
			return "", fmt.Errorf("packets from %q to %q: want two IPv4 addresses", l.From, l.To)
		}
		some := ""
		switch {
		case l.Percent < 1 || l.Percent > 100:
			return "", fmt.Errorf("%d %% of the packets from %s to %s (want 1 to 100)", l.Percent, l.From, l.To)
		case l.Percent < 100:
			some = fmt.Sprintf("numgen random mod 100 < %d ", l.Percent)
		}
		fmt.Fprintf(&rules, "\t\tip saddr %s ip daddr %s %sdrop\n", l.From, l.To, some)
	}
	var b strings.Builder
	for _, family := range []string{"bridge", "ip"} {
		fmt.Fprintf(&b, "table %[1]s loss\ndelete table %[1]s loss\n", family)
		if len(losses) > 0 {
			fmt.Fprintf(&b, "table %s loss {\n\tchain forward {\n\t\ttype filter hook forward priority 0; policy accept;\n%s\t}\n}\n", family, rules.String())
		}
	}
	return b.String(), nil
}
