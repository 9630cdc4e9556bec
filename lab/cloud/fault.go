package cloud

import (
	"context"
	"fmt"
	"time"
)

// Service names a part of the cloud that can be made to fail.
type Service string

// The services. A fault of the metadata service is met by those who ask for
// tokens too: they are behind it.
const (
	MetadataService Service = "metadata"
	TokenService    Service = "token"
	LockboxService  Service = "lockbox"
	DNSService      Service = "dns"
)

// Fault is how a service misbehaves until it is told otherwise.
type Fault struct {
	Status int           // an HTTP status from 400 to 599 in place of each answer; DNS says SERVFAIL, whatever the number
	Delay  time.Duration // before each answer, right or wrong
}

// SetFault makes a service misbehave for all machines, from the next request
// on. The zero Fault ends it; requests that are being delayed stay delayed. It
// refuses a service that there is not, and a Fault that could not be seen.
func (c *Cloud) SetFault(s Service, f Fault) error {
	switch s {
	case MetadataService, TokenService, LockboxService, DNSService:
	default:
		return fmt.Errorf("service %q is not one of metadata, token, lockbox, dns", s)
	}
	if f.Status != 0 && (f.Status < 400 || f.Status > 599) {
		return fmt.Errorf("status %d of a fault (want 400 to 599, or 0 for right answers)", f.Status)
	}
	if f.Delay < 0 {
		return fmt.Errorf("delay %v of a fault (want 0 or more)", f.Delay)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults[s] = f
	return nil
}

// suffer waits as long as the service's fault says, and returns its status:
// 0 to answer as ever. An error means that nobody waits for the answer now.
func (c *Cloud) suffer(ctx context.Context, s Service) (int, error) {
	c.mu.Lock()
	f := c.faults[s]
	c.mu.Unlock()
	if f.Delay == 0 {
		return f.Status, nil
	}
	timer := time.NewTimer(f.Delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return f.Status, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}
