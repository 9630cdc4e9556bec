package cloud

import (
	"context"
	"time"
)

// Service names a part of the cloud that can be made to fail.
type Service string

// The services. Tokens come from the metadata service, and fail with it.
const (
	MetadataService Service = "metadata"
	TokenService    Service = "token"
	LockboxService  Service = "lockbox"
	DNSService      Service = "dns"
	IAMService      Service = "iam"
	StorageService  Service = "storage"
	StorageWrites   Service = "storage writes" // object storage that is read as ever: a full bucket, say
)

// Fault is how a service misbehaves.
type Fault struct {
	Status int           // an HTTP status from 400 to 599 in place of each answer; DNS says SERVFAIL, whatever the number
	Delay  time.Duration // before each answer, right or wrong
}

// Faults gives the fault that a service has now; the zero Fault is none.
type Faults func(Service) Fault

// delay waits as long as the service's fault says, and returns its status: 0
// for a right answer. An error means that nobody waits for the answer now.
func (c *Cloud) delay(ctx context.Context, s Service) (int, error) {
	if c.faults == nil {
		return 0, nil
	}
	f := c.faults(s)
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
