// Package cloud is what a machine sees of Yandex Cloud (metadata, IAM tokens and
// ephemeral keys, Lockbox, object storage, DNS), made from the cloud's documentation for a lab on one host.
//
// It only answers: every service is a handler, and whoever owns the network
// opens the listeners.
package cloud

import (
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/miekg/dns"
)

// Instance is what the cloud knows of one machine.
type Instance struct {
	ID, Name         string
	Hostname         string // FQDN: demo-pg-1.ru-central1.internal
	Description      string
	Zone, Region     string // ru-central1-a, ru-central1
	CloudID          string
	FolderID         string
	SubnetID         string
	ImageID          string
	ServiceAccountID string // "": none is attached, so there is no token
	Address          netip.Addr
	PublicAddress    netip.Addr // the zero Addr: none
	MAC              string
	Attributes       map[string]string // user metadata: user-data, pgha-bootstrap, …
	Labels           map[string]string
	Disks            []Disk // in the order of their index; the first is the boot disk
	MaintenanceEvent string // "": NONE

	created time.Time
}

// Disk is one disk of an instance, as the metadata service lists it.
type Disk struct {
	DeviceName string // at most 20 characters; /dev/disk/by-id/virtio-<DeviceName> in the machine
	Mode       string // "": READ_WRITE
	Type       string // "": PERSISTENT
}

// Limits of user metadata:
// https://github.com/yandex-cloud/cloudapi/blob/master/yandex/cloud/compute/v1/instance_service.proto
const (
	maxAttribute  = 256 << 10 // one value may be this long
	maxAttributes = 512 << 10 // all keys and values together must be shorter than this
)

var deviceName = regexp.MustCompile(`^[a-z][a-z0-9-_]{0,19}$`)

// Cloud holds the instances, secrets and tokens that its services answer from.
// All its methods, and all the handlers that it gives out, may be used at once
// from many goroutines.
type Cloud struct {
	now    func() time.Time
	random io.Reader

	mu          sync.Mutex
	changed     chan struct{} // closed, and replaced, whenever an instance changes
	instances   map[string]Instance
	secrets     map[string]Secret
	findSecret  func(id string) (Secret, bool) // nil: secrets has them
	tokens      map[string]token
	latest      map[string]string // service account -> the token that it is given now
	keys        map[string]ephemeralKey
	buckets     *Buckets
	editors     map[string][]string                             // bucket -> the service accounts that hold storage.editor on it
	findEditors func(bucket string) (editors []string, ok bool) // nil: editors has them
	names       map[string][]netip.Addr
	faults      Faults
}

// New returns a cloud without machines. Tokens live by now's clock and are made
// of random's bytes (crypto/rand.Reader, but for tests). Services misbehave as
// faults says; nil: they do not. Object storage has these buckets, which outlive the
// cloud; nil: its own.
func New(now func() time.Time, random io.Reader, faults Faults, buckets *Buckets) *Cloud {
	if buckets == nil {
		buckets = NewBuckets(now)
	}
	return &Cloud{
		now:       now,
		random:    random,
		changed:   make(chan struct{}),
		instances: map[string]Instance{},
		secrets:   map[string]Secret{},
		tokens:    map[string]token{},
		latest:    map[string]string{},
		keys:      map[string]ephemeralKey{},
		buckets:   buckets,
		editors:   map[string][]string{},
		names:     map[string][]netip.Addr{},
		faults:    faults,
	}
}

// Put adds an instance, or replaces the one with its ID. It keeps a copy. It
// refuses what the cloud's API would refuse, and an address, name, host name or
// MAC that another instance has.
func (c *Cloud) Put(in Instance) error {
	in, err := normal(in)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, other := range c.instances {
		if other.ID == in.ID {
			continue
		}
		for _, v := range []struct{ what, mine, theirs string }{
			{"address", in.Address.String(), other.Address.String()},
			{"MAC", in.MAC, other.MAC},
			{"name", in.Name, other.Name},
			{"host name", in.Hostname, other.Hostname},
		} {
			if v.mine == v.theirs {
				return fmt.Errorf("instance %q: %s %q is taken by instance %q", in.ID, v.what, v.mine, other.ID)
			}
		}
	}
	in.created = c.now()
	if old, ok := c.instances[in.ID]; ok {
		in.created = old.created
	}
	c.set(in)
	return nil
}

// Remove forgets an instance; one that is not there is no error.
func (c *Cloud) Remove(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.instances, id)
	c.wake()
}

// set wants c.mu locked. What is stored is never written to again: answers are
// made from it without the lock.
func (c *Cloud) set(in Instance) {
	c.instances[in.ID] = in
	c.wake()
}

func (c *Cloud) wake() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// from is the instance that a request comes from, and a channel that is closed
// when any instance changes.
func (c *Cloud) from(remote string) (in Instance, changed <-chan struct{}, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	source, err := netip.ParseAddrPort(remote)
	if err != nil {
		return Instance{}, nil, false
	}
	for _, in := range c.instances {
		if in.Address == source.Addr().Unmap() {
			return in, c.changed, true
		}
	}
	return Instance{}, nil, false
}

// normal is a copy of in with the defaults filled in, or what is wrong with it.
func normal(in Instance) (Instance, error) {
	for _, v := range []struct{ what, value string }{
		{"id", in.ID}, {"name", in.Name}, {"host name", in.Hostname}, {"zone", in.Zone},
	} {
		// A name that DNS cannot carry would get no answer at all, not
		// NXDOMAIN.
		_, ok := dns.IsDomainName(v.value)
		if !ok || strings.Trim(v.value, ".") == "" || strings.ContainsAny(v.value, "/ \n") {
			return in, fmt.Errorf("instance %q: %s %q is not a name", in.ID, v.what, v.value)
		}
	}
	if !in.Address.Is4() {
		return in, fmt.Errorf("instance %q: address %q is not an IPv4 address", in.ID, in.Address)
	}
	if in.PublicAddress.IsValid() && !in.PublicAddress.Is4() {
		return in, fmt.Errorf("instance %q: public address %q is not an IPv4 address", in.ID, in.PublicAddress)
	}
	mac, err := net.ParseMAC(in.MAC)
	if err != nil || len(mac) != 6 {
		return in, fmt.Errorf("instance %q: MAC %q is not six bytes in hexadecimal", in.ID, in.MAC)
	}
	if err := checkAttributes(in.Attributes); err != nil {
		return in, fmt.Errorf("instance %q: %w", in.ID, err)
	}
	for key := range in.Labels {
		if key == "" || strings.ContainsAny(key, "/\n") {
			return in, fmt.Errorf("instance %q: label %q cannot be a path of the metadata service", in.ID, key)
		}
	}
	in.MAC = mac.String()
	in.Attributes = maps.Clone(in.Attributes)
	in.Labels = maps.Clone(in.Labels)
	in.Disks = slices.Clone(in.Disks)
	for i := range in.Disks {
		disk := &in.Disks[i]
		if !deviceName.MatchString(disk.DeviceName) {
			return in, fmt.Errorf("instance %q: device name %q of disk %d (want a letter, then at most 19 of a-z, 0-9, - and _)", in.ID, disk.DeviceName, i)
		}
		if disk.Mode == "" {
			disk.Mode = "READ_WRITE"
		}
		if disk.Type == "" {
			disk.Type = "PERSISTENT"
		}
	}
	if in.MaintenanceEvent == "" {
		in.MaintenanceEvent = "NONE"
	}
	return in, nil
}

func checkAttributes(attributes map[string]string) error {
	total := 0
	for _, key := range slices.Sorted(maps.Keys(attributes)) {
		value := attributes[key]
		if key == "" || strings.ContainsAny(key, "/\n") {
			return fmt.Errorf("attribute %q cannot be a path of the metadata service", key)
		}
		// The API carries a protobuf map of strings: no raw gzip, for one.
		if !utf8.ValidString(key) || !utf8.ValidString(value) {
			return fmt.Errorf("attribute %q is not valid UTF-8 (encode it, as with base64)", key)
		}
		if len(value) > maxAttribute {
			return fmt.Errorf("attribute %q has %d bytes (at most %d)", key, len(value), maxAttribute)
		}
		total += len(key) + len(value)
	}
	if total >= maxAttributes {
		return fmt.Errorf("attributes have %d bytes together, with their keys (fewer than %d)", total, maxAttributes)
	}
	return nil
}
