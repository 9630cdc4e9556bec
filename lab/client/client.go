// Package client looks at a cluster from outside of its machines, as
// applications and operators do.
package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// Dial connects to a literal address, from wherever the client shall be.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// Host is a machine: what its certificate says, and where it is.
type Host struct {
	Name    string
	Address netip.Addr
}

// Target is a database behind one port of any of these hosts.
type Target struct {
	Hosts          []Host
	Port           int
	Database, User string
}

// InTurn gives a target of one host alone, in turn, as a load balancer does.
func (t Target) InTurn() func() Target {
	var turn atomic.Uint64
	return func() Target {
		one := t
		at := int(turn.Add(1)-1) % len(t.Hosts)
		one.Hosts = t.Hosts[at : at+1]
		return one
	}
}

// Conninfo is the target as libpq takes it, with the files of the CA and of
// the passwords. Names are verified and never looked up: they mean something
// inside the cluster's network only.
func (t Target) Conninfo(ca, passfile string) string {
	var names, addresses []string
	for _, h := range t.Hosts {
		names = append(names, h.Name)
		addresses = append(addresses, h.Address.String())
	}
	return fmt.Sprintf("host=%s hostaddr=%s port=%d dbname=%s user=%s sslmode=verify-full sslrootcert=%s passfile=%s",
		strings.Join(names, ","), strings.Join(addresses, ","), t.Port, quote(t.Database), quote(t.User), quote(ca), quote(passfile))
}

// quote makes a value of a conninfo string, as
// https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-KEYWORD-VALUE has it.
func quote(s string) string {
	if s != "" && !strings.ContainsAny(s, " \t\n\r\v\f'\\") {
		return s
	}
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

// Passfile is the lines of a PGPASSFILE for the target.
func (t Target) Passfile(password string) string {
	var b strings.Builder
	escape := strings.NewReplacer(`\`, `\\`, `:`, `\:`)
	for _, h := range t.Hosts {
		fmt.Fprintf(&b, "%s:%d:%s:%s:%s\n", h.Name, t.Port, escape.Replace(t.Database), escape.Replace(t.User), escape.Replace(password))
	}
	return b.String()
}

// Connect connects over TLS that trusts this CA alone and verifies the host's
// name.
func (t Target) Connect(ctx context.Context, dial Dial, ca []byte, password string) (*pgx.Conn, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, errors.New("the CA is not a certificate in PEM")
	}
	var errs []error
	for _, h := range t.Hosts {
		config, err := pgx.ParseConfig("sslmode=disable") // what pgx would take from the environment is set below
		if err != nil {
			return nil, err
		}
		config.Host, config.Port, config.Database, config.User, config.Password = h.Name, uint16(t.Port), t.Database, t.User, password
		config.Fallbacks, config.RuntimeParams = nil, map[string]string{"application_name": "pgha-lab"}
		config.TLSConfig = &tls.Config{RootCAs: roots, ServerName: h.Name, MinVersion: tls.VersionTLS12}
		address := netip.AddrPortFrom(h.Address, uint16(t.Port)).String()
		config.LookupFunc = func(context.Context, string) ([]string, error) { return []string{h.Address.String()}, nil }
		config.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, "tcp", address) }
		conn, err := pgx.ConnectConfig(ctx, config)
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// Socket opens a session over a server's Unix socket, wherever its file is seen.
func Socket(ctx context.Context, path, database, user, password string) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig("sslmode=disable") // what pgx would take from the environment is set below
	if err != nil {
		return nil, err
	}
	config.Host, config.Port, config.Database, config.User, config.Password = path, 5432, database, user, password
	config.TLSConfig, config.Fallbacks, config.RuntimeParams = nil, nil, map[string]string{"application_name": "pgha-lab"}
	config.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
	return pgx.ConnectConfig(ctx, config)
}

// How often a write is tried, and how long one try may take: as long as a
// commit may wait for a standby.
const (
	writePause = 100 * time.Millisecond
	writeTry   = 5 * time.Second
)

// FirstWrite tries to write until the cluster has acknowledged a row, which
// it leaves in table pgha_lab, and gives that moment. It ends with the
// context, and then says what the last try was told.
func (t Target) FirstWrite(ctx context.Context, dial Dial, ca []byte, password string, now func() time.Time) (time.Time, error) {
	for {
		at, err := t.write(ctx, dial, ca, password, now)
		if err == nil {
			return at, nil
		}
		select {
		case <-ctx.Done():
			return time.Time{}, fmt.Errorf("no write was acknowledged on port %d, the last try said: %s", t.Port, strings.Join(strings.Fields(err.Error()), " "))
		case <-time.After(writePause):
		}
	}
}

func (t Target) write(ctx context.Context, dial Dial, ca []byte, password string, now func() time.Time) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, writeTry)
	defer cancel()
	conn, err := t.Connect(ctx, dial, ca, password)
	if err != nil {
		return time.Time{}, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for _, sql := range []string{
		"CREATE TABLE IF NOT EXISTS pgha_lab (at timestamptz PRIMARY KEY DEFAULT clock_timestamp())",
		"INSERT INTO pgha_lab DEFAULT VALUES",
	} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return time.Time{}, err
		}
	}
	return now(), nil
}

// Member is a node as the cluster's REST API shows it.
type Member struct {
	Name, Role, State string
	Lag               string // bytes behind the leader, as a number, or unknown; empty for the leader
}

// Members asks each of these hosts until one answers.
func Members(ctx context.Context, dial Dial, ca []byte, hosts []Host, port int) ([]Member, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, errors.New("the CA is not a certificate in PEM")
	}
	var errs []error
	for _, h := range hosts {
		members, err := ask(ctx, dial, roots, h, port)
		if err == nil {
			return members, nil
		}
		errs = append(errs, fmt.Errorf("asking %s for the cluster's members: %w", h.Name, err))
	}
	return nil, errors.Join(errs...)
}

func ask(ctx context.Context, dial Dial, roots *x509.CertPool, h Host, port int) ([]Member, error) {
	address := netip.AddrPortFrom(h.Address, uint16(port)).String()
	transport := &http.Transport{
		DialContext:     func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, "tcp", address) },
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
	}
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+net.JoinHostPort(h.Name, strconv.Itoa(port))+"/cluster", nil)
	if err != nil {
		return nil, err
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answers %s", response.Status)
	}
	return parseMembers(data)
}

// parseMembers reads the answer to GET /cluster.
func parseMembers(data []byte) ([]Member, error) {
	var cluster struct {
		Members []struct {
			Name, Role, State string
			Lag               json.RawMessage // a number, or "unknown"
		}
	}
	if err := json.Unmarshal(data, &cluster); err != nil {
		return nil, fmt.Errorf("it does not answer with its cluster: %w", err)
	}
	var members []Member
	for _, m := range cluster.Members {
		lag := strings.Trim(string(m.Lag), `"`)
		if lag == "null" {
			lag = ""
		}
		members = append(members, Member{m.Name, m.Role, m.State, lag})
	}
	slices.SortFunc(members, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	return members, nil
}
