//go:build linux

package lab

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/miekg/dns"

	"pgha-gen/deploy/secrets"
	"pgha-gen/generator/role"
	"pgha-gen/generator/specfile"
	"pgha-gen/lab/cloud"
)

// metadataAddress is link-local, as the cloud's.
var metadataAddress = netip.MustParseAddr("169.254.169.254")

// endpoint is a service of the cloud with a public name. Its address stands for
// a public one, out of the range that is kept for documentation.
type endpoint struct {
	name    string
	address netip.Addr
	handler func(*cloud.Cloud) http.Handler
}

func endpoints() []endpoint {
	return []endpoint{
		{"payload.lockbox.api.cloud.yandex.net", netip.MustParseAddr("198.51.100.1"), (*cloud.Cloud).Lockbox},
		{"iam.api.cloud.yandex.net", netip.MustParseAddr("198.51.100.2"), (*cloud.Cloud).IAM},
		{"storage.yandexcloud.net", netip.MustParseAddr("198.51.100.3"), (*cloud.Cloud).Storage},
	}
}

// cloudAddresses are all that the cloud answers at, but for the subnets' own.
func cloudAddresses() []netip.Prefix {
	all := []netip.Prefix{netip.PrefixFrom(metadataAddress, 32)}
	for _, e := range endpoints() {
		all = append(all, netip.PrefixFrom(e.address, 32))
	}
	return all
}

// serve opens the cloud's services inside the network; serveNames those of a
// subnet.
func (l *Lab) serve() error {
	metadata, err := l.Network.Listen("tcp", netip.AddrPortFrom(metadataAddress, 80).String())
	if err != nil {
		return err
	}
	l.closers = append(l.closers, serveHTTP(&http.Server{Handler: l.Cloud.Metadata()}, metadata))

	ca, err := loadCA(l.config.Cache, l.config.Now())
	if err != nil {
		return err
	}
	for _, e := range endpoints() {
		if err := l.serveEndpoint(e, ca); err != nil {
			return err
		}
	}
	return nil
}

func (l *Lab) serveEndpoint(e endpoint, ca *publicCA) error {
	if err := l.Cloud.SetName(e.name, e.address); err != nil {
		return err
	}
	certificate, err := ca.server(e.name, l.config.Now())
	if err != nil {
		return err
	}
	listener, err := l.Network.Listen("tcp", netip.AddrPortFrom(e.address, 443).String())
	if err != nil {
		return err
	}
	l.closers = append(l.closers, serveHTTP(&http.Server{
		Handler: e.handler(l.Cloud),
		// Machines whose power is cut in a handshake are no news.
		ErrorLog: log.New(io.Discard, "", 0),
	}, tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{certificate}})))
	return nil
}

func (l *Lab) serveNames(resolver netip.Addr) error {
	address := netip.AddrPortFrom(resolver, 53).String()
	packets, err := l.Network.ListenPacket("udp", address)
	if err != nil {
		return err
	}
	stream, err := l.Network.Listen("tcp", address)
	if err != nil {
		return errors.Join(err, packets.Close())
	}
	handler := l.Cloud.DNS(l.cluster.Cloud.Domain)
	l.closers = append(l.closers,
		serveDNS(&dns.Server{PacketConn: packets, Handler: handler}),
		serveDNS(&dns.Server{Listener: stream, Handler: handler}))
	return nil
}

// serveDNS serves until close, whose error tells what ended it before.
func serveDNS(s *dns.Server) (close func() error) {
	// Only a server that has started can be shut down.
	started, start := context.WithCancel(context.Background())
	s.NotifyStartedFunc = start
	return background(func() error {
		defer start()
		return s.ActivateAndServe()
	}, func() error {
		<-started.Done()
		return s.Shutdown()
	})
}

// serveHTTP is serveDNS for HTTP.
func serveHTTP(s *http.Server, listener net.Listener) (close func() error) {
	s.ReadHeaderTimeout = time.Minute
	return background(func() error {
		if err := s.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	}, s.Close)
}

// background runs a server until close stops it. The error of close is that of
// both.
func background(serve, stop func() error) (close func() error) {
	ended := make(chan error, 1)
	go func() { ended <- serve() }()
	return func() error { return errors.Join(stop(), <-ended) }
}

// fillLockbox makes the cluster's secrets and puts each role's payload under
// the id that the spec gives, readable by the nodes' service account alone.
func (l *Lab) fillLockbox() error {
	if err := l.generate(l.cluster); err != nil {
		return err
	}
	return errors.Join(l.putPayloads(), l.putBuckets(l.cluster))
}

// putBuckets makes the buckets of the cluster, each for the accounts of the roles
// that use it.
func (l *Lab) putBuckets(c *role.Cluster) error {
	editors := map[string][]string{}
	for _, g := range c.Groups {
		if b := g.Plan.Bucket; b != "" {
			editors[b] = append(editors[b], labAccount(c, g.Name))
		}
	}
	var failed error
	for b, accounts := range editors {
		failed = errors.Join(failed, l.Cloud.PutBucket(b, accounts...))
	}
	return failed
}

// generate makes what the folder of secrets lacks for this cluster, as
// pgha-gen secrets generate does, takes what is in it, and plans the cluster
// with its authorities. What somebody rotated there stays as it is.
func (l *Lab) generate(c *role.Cluster) error {
	world, dir := l.world(), l.secrets(c)
	if _, err := secrets.Generate(dir, c, secrets.Rotation{}, world); err != nil {
		return err
	}
	kept, err := secrets.Load(dir, c, world)
	if err != nil {
		return err
	}
	l.CA, l.payloads, l.operator = kept.CA, kept.Payloads, kept.Operator
	c.Secrets.CA = specfile.Text(l.CA.Certificate())
	return c.Plan()
}

func (l *Lab) world() secrets.World {
	return secrets.World{UID: os.Geteuid(), Now: l.config.Now(), Random: rand.Reader}
}

// secrets is the folder that pgha-gen secrets generate would keep.
func (l *Lab) secrets(c *role.Cluster) string {
	return filepath.Join(cmp.Or(l.config.Secrets, filepath.Join(l.config.State, "secrets")), c.Name)
}

func (l *Lab) putPayloads() error {
	for name, payload := range l.payloads {
		if err := l.putPayload(name, payload); err != nil {
			return err
		}
	}
	return nil
}

// PutPayload makes a payload the current version of a role's secret. What
// Secret and SecretsOf give stays what the machines should have. It is refused
// where machines read the Lockbox of CloudAPI: that has to get it.
func (l *Lab) PutPayload(role string, payload secrets.Payload) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.putPayload(role, payload)
}

func (l *Lab) putPayload(role string, payload secrets.Payload) error {
	if l.api {
		return fmt.Errorf("the secret of %s is one of the API (give it a version there)", role)
	}
	c := l.cluster
	if was, known := l.latest[role]; !known || !maps.Equal(was, payload) {
		l.latest[role] = maps.Clone(payload)
		l.versions[role]++
	}
	version := cloud.Version{ID: fmt.Sprintf("e6v%s%d", role, l.versions[role])}
	for key, text := range payload {
		version.Entries = append(version.Entries, cloud.Entry{Key: key, Text: text})
	}
	return l.Cloud.PutSecret(labSecret(c, role),
		cloud.Secret{Readers: []string{labAccount(c, role)}, Versions: []cloud.Version{version}})
}
