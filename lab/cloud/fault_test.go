package cloud_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"pgha-gen/lab/cloud"
)

func TestFaults(t *testing.T) {
	tests := []struct {
		name    string
		reason  string
		service cloud.Service
		fault   cloud.Fault
		want    map[cloud.Service]answer
		after   time.Duration // of all four services together
	}{
		{"none", "the zero Fault is health", cloud.MetadataService, cloud.Fault{}, nil, 0},
		{"metadata", "tokens are behind it", cloud.MetadataService, cloud.Fault{Status: 500}, map[cloud.Service]answer{
			cloud.MetadataService: {500, "the metadata service fails on purpose\n"},
			cloud.TokenService:    {500, "the metadata service fails on purpose\n"},
		}, 0},
		{"slow metadata", "the answer is right, and late", cloud.MetadataService, cloud.Fault{Delay: 3 * time.Second}, nil, 6 * time.Second},
		{"token", "the rest of the metadata is there", cloud.TokenService, cloud.Fault{Status: 503}, map[cloud.Service]answer{
			cloud.TokenService: {503, "the token service fails on purpose\n"},
		}, 0},
		{"lockbox", "", cloud.LockboxService, cloud.Fault{Status: 503}, map[cloud.Service]answer{
			cloud.LockboxService: {503, `{"code":14,"message":"the lockbox service fails on purpose","details":[]}`},
		}, 0},
		{"lockbox at its limit", "", cloud.LockboxService, cloud.Fault{Status: 429}, map[cloud.Service]answer{
			cloud.LockboxService: {429, `{"code":8,"message":"the lockbox service fails on purpose","details":[]}`},
		}, 0},
		{"lockbox broken", "", cloud.LockboxService, cloud.Fault{Status: 500}, map[cloud.Service]answer{
			cloud.LockboxService: {500, `{"code":13,"message":"the lockbox service fails on purpose","details":[]}`},
		}, 0},
		{"lockbox without the method", "", cloud.LockboxService, cloud.Fault{Status: 501}, map[cloud.Service]answer{
			cloud.LockboxService: {501, `{"code":12,"message":"the lockbox service fails on purpose","details":[]}`},
		}, 0},
		{"lockbox, bad request", "", cloud.LockboxService, cloud.Fault{Status: 400}, map[cloud.Service]answer{
			cloud.LockboxService: {400, `{"code":3,"message":"the lockbox service fails on purpose","details":[]}`},
		}, 0},
		{"lockbox behind a bad gateway", "gRPC has no code for it", cloud.LockboxService, cloud.Fault{Status: 502, Delay: time.Second}, map[cloud.Service]answer{
			cloud.LockboxService: {502, `{"code":2,"message":"the lockbox service fails on purpose","details":[]}`},
		}, time.Second},
		{"dns", "", cloud.DNSService, cloud.Fault{Status: 500, Delay: time.Second}, map[cloud.Service]answer{
			cloud.DNSService: {dns.RcodeServerFailure, ""},
		}, time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, faults := newFaultyCloud(t, newClock().Now, etcd1())
				put(t, c)
				bearer := "Bearer " + getToken(t, c.Metadata()).AccessToken
				see := func() map[cloud.Service]answer {
					md := call(t.Context(), c.Metadata(), "/latest/meta-data/instance-id")
					tok := call(t.Context(), c.Metadata(), "/computeMetadata/v1/instance/service-accounts/default/token")
					return map[cloud.Service]answer{
						cloud.MetadataService: {md.Code, md.Body.String()},
						cloud.TokenService:    {tok.Code, tok.Body.String()},
						cloud.LockboxService:  payload(c.Lockbox(), "GET", "/lockbox/v1/secrets/e6qc/payload", bearer),
						cloud.DNSService:      {query(c.DNS(), question("x.", dns.TypeA)).Rcode, ""},
					}
				}
				want := see()
				if err := faults.Set(tt.service, tt.fault); err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				got := see()
				if took := time.Since(start); took != tt.after {
					t.Errorf("took %v, want %v: %s", took, tt.after, tt.reason)
				}
				if err := faults.Set(tt.service, cloud.Fault{}); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, see()); diff != "" {
					t.Errorf("after the fault (-want +got):\n%s", diff)
				}
				for service, answer := range tt.want {
					want[service] = answer
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", tt.reason, diff)
				}
			})
		})
	}
}

func TestFaultDelayEndsWithTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, faults := newFaultyCloud(t, newClock().Now, etcd1())
		for _, s := range []cloud.Service{cloud.MetadataService, cloud.LockboxService} {
			if err := faults.Set(s, cloud.Fault{Delay: time.Hour}); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		md := call(ctx, c.Metadata(), "/latest/")
		lb := call(ctx, c.Lockbox(), "/lockbox/v1/secrets/e6qc/payload")
		if took := time.Since(start); took != time.Second || md.Body.Len() != 0 || lb.Body.Len() != 0 {
			t.Errorf("after %v: %q, %q; want nothing, after 1s", took, md.Body, lb.Body)
		}
	})
}

func TestSetFaultRefuses(t *testing.T) {
	tests := []struct {
		name    string
		reason  string
		service cloud.Service
		fault   cloud.Fault
		want    string
	}{
		{"service", "a misspelt fault would test nothing", "meta", cloud.Fault{Status: 500}, `service "meta" is not one of metadata, token, lockbox, dns, iam, storage, storage writes`},
		{"right answer", "200 is no fault", cloud.MetadataService, cloud.Fault{Status: 200}, `status 200 of a fault (want 400 to 599, or 0 for right answers)`},
		{"no status", "net/http panics at it", cloud.MetadataService, cloud.Fault{Status: 600}, `status 600 of a fault (want 400 to 599, or 0 for right answers)`},
		{"delay", "", cloud.MetadataService, cloud.Fault{Delay: -1}, `delay -1ns of a fault (want 0 or more)`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, faults := newFaultyCloud(t, newClock().Now, etcd1())
			if err := faults.Set(tt.service, tt.fault); err == nil || err.Error() != tt.want {
				t.Errorf("error %v, want %s: %s", err, tt.want, tt.reason)
			}
			if w := call(t.Context(), c.Metadata(), "/latest/"); w.Code != 200 {
				t.Errorf("a refused fault is there: %d", w.Code)
			}
		})
	}
}
