package cloud

import (
	"fmt"
	"sync"
)

// Outages are the faults that somebody has set. Their method Now is what New
// takes.
type Outages struct {
	mu  sync.Mutex
	now map[Service]Fault
}

// Now is the fault that a service has.
func (f *Outages) Now(s Service) Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now[s]
}

// Set makes a service misbehave for all machines, from the next request on. The
// zero Fault ends it; requests that are being delayed stay delayed. Refused: a
// service that there is not, and a Fault that could not be seen.
func (f *Outages) Set(s Service, fault Fault) error {
	switch s {
	case MetadataService, TokenService, LockboxService, DNSService, IAMService, StorageService, StorageWrites:
	default:
		return fmt.Errorf("service %q is not one of metadata, token, lockbox, dns, iam, storage, storage writes", s)
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
		f.now = map[Service]Fault{}
	}
	f.now[s] = fault
	return nil
}
