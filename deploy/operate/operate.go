// Package operate looks at a running cluster and changes it, as an operator
// does from outside of its machines: over Patroni's REST API, etcd's JSON
// gateway, HAProxy's statistics and each machine's own /status.
package operate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"

	"pgha-gen/generator/role"
)

// user is who the operator is for the REST API. For PostgreSQL it is whom the
// common name of the certificate names.
const user = "patroni"

// Dial connects to an address as net.Dialer does.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// World is what a client takes from outside.
type World struct {
	Dial Dial
	Now  func() time.Time
	// Patience is how long a machine may take to answer a question; 0: 1.5 s.
	Patience time.Duration
}

// Client asks the machines of one cluster, and tells them what to do.
type Client struct {
	cluster  *role.Cluster
	operator *Operator
	digests  map[string]string
	world    World
	hosts    map[string]string // of an FQDN: where it is dialled
	http     *http.Client
}

// NewClient is for a cluster whose plan is made; refused is one that admits no
// operators. The digests are those of the user-data that the spec gives the
// machines of each role; a role without one is not compared.
func NewClient(c *role.Cluster, o *Operator, digests map[string]string, w World) (*Client, error) {
	switch {
	case c.Database() == nil || c.DCS() == nil:
		return nil, fmt.Errorf("cluster %s has no database that a DCS keeps together (add the roles that offer them)", c.Name)
	case len(c.Access.Operators) == 0:
		return nil, errors.New("access.operators has no network, so no machine lets an operator in (add the one that you are in; the machines take it over as any change)")
	}
	if w.Patience == 0 {
		w.Patience = 1500 * time.Millisecond
	}
	client := &Client{cluster: c, operator: o, digests: digests, world: w, hosts: map[string]string{}}
	for _, g := range c.Groups {
		for _, n := range g.Nodes() {
			client.hosts[c.FQDN(n.Name)] = n.Host(c)
		}
	}
	client.http = &http.Client{Transport: &http.Transport{
		DialContext: client.dial,
		TLSClientConfig: &tls.Config{
			RootCAs: o.authorities, Certificates: []tls.Certificate{o.certificate}, MinVersion: tls.VersionTLS12,
		},
		MaxIdleConnsPerHost: 4,
	}}
	return client, nil
}

// Close ends the connections that are kept.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// dial connects to a machine that is named by its FQDN, which its certificate
// is verified by, at its address.
func (c *Client) dial(ctx context.Context, network, address string) (net.Conn, error) {
	name, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	host, ok := c.hosts[name]
	if !ok {
		return nil, fmt.Errorf("%s is no machine of cluster %s", name, c.cluster.Name)
	}
	return c.world.Dial(ctx, network, net.JoinHostPort(host, port))
}

// url names what a machine serves at a port.
func (c *Client) url(scheme, node string, port int, path string) string {
	return scheme + "://" + net.JoinHostPort(c.cluster.FQDN(node), strconv.Itoa(port)) + path
}

// rest is a URL of the REST API of a node.
func (c *Client) rest(node, path string) string {
	return c.url("https", node, c.cluster.Database().HealthPort, path)
}

// Databases are the names of the nodes that PostgreSQL runs on, in the order of
// the spec.
func (c *Client) Databases() []string {
	var names []string
	for _, n := range c.cluster.Offering(role.Database) {
		names = append(names, n.Name)
	}
	return names
}

// Has says whether PostgreSQL runs on a node of that name.
func (c *Client) Has(node string) bool { return slices.Contains(c.Databases(), node) }

// Operator is who asks: a certificate of the cluster, and the REST API's
// password.
type Operator struct {
	Dir         string
	End         time.Time // of the certificate
	authorities *x509.CertPool
	certificate tls.Certificate
	password    string
}
