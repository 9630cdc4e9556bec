package role

import "pgha-gen/generator/specfile"

// MetricsPort is where each machine gives out what it knows of itself.
const MetricsPort = 9190

// metricsConnections is half of what metrics.py serves at a time.
const metricsConnections = 4

// Port is a TCP port that a machine listens on, and the machine's firewall
// opens.
type Port struct {
	Number int
	For    string   // who connects to it, for what
	From   []string // networks, and names of machines that have no address; nobody else is let in
	Limit  int      // how many connections one address may hold; 0: any number
}

// CheckPorts reports ports that are no ports, that two things on the same
// machine would listen on, or that every machine listens on.
func CheckPorts(ports ...PlacedPort) {
	taken := map[int]string{}
	for _, p := range ports {
		switch {
		case !specfile.Known(p.At):
		case p.Number < 1024 || p.Number > 65535:
			p.At.Problem("port %d (want 1024 to 65535: the services do not run as root)", p.Number)
		case p.Number == MetricsPort:
			p.At.Problem("port %d is where every machine has its own metrics (choose another)", p.Number)
		case taken[p.Number] != "":
			p.At.Problem("port %d is %s on the same machine already", p.Number, taken[p.Number])
		default:
			taken[p.Number] = p.At.String()
		}
	}
}

// PlacedPort is a port and where the spec gives it.
type PlacedPort struct {
	Number int
	At     specfile.Place
}
