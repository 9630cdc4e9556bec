// Package cloudtest makes services of the emulated cloud fail on purpose.
package cloudtest

import (
	"fmt"
	"sync"

	"pgha-gen/lab/cloud"
)

// Faults are those that a test has set. Its method Now is what cloud.New takes.
type Faults struct {
	mu  sync.Mutex
	now map[cloud.Service]cloud.Fault
}

// Now is the fault that a service has.
func (f *Faults) Now(s cloud.Service) cloud.Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now[s]
}

// Set makes a service misbehave for all machines, from the next request on. The
// zero Fault ends it; requests that are being delayed stay delayed. Refused: a
// service that there is not, and a Fault that could not be seen.
func (f *Faults) Set(s cloud.Service, fault cloud.Fault) error {
	switch s {
	case cloud.MetadataService, cloud.TokenService, cloud.LockboxService, cloud.DNSService:
	default:
		return fmt.Errorf("service %q is not one of metadata, token, lockbox, dns", s)
	}
	if fault.Status != 0 && (fault.Status < 400 || fault.Status > 599) {
		return fmt.Errorf("status %d of a fault (want 400 to 599, or 0 for right answers)", fault.Status)
	}
	if fault.Delay < 0 {
		return fmt.Errorf("delay %v of a fault (want 0 or more)", fault.Delay)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.now == nil {
		f.now = map[cloud.Service]cloud.Fault{}
	}
	f.now[s] = fault
	return nil
}
