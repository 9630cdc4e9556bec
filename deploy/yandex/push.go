package yandex

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/yandex-cloud/go-genproto/yandex/cloud/lockbox/v1"
	"google.golang.org/grpc"

	"pgha-gen/generator/cloud"
)

// Holding is what the secret of a role is to hold.
type Holding struct {
	Entries map[string]string
	Gone    []string // entries that nobody reads any more
}

// Push is a new version of each secret that does not hold what it should.
type Push struct{ secrets []*pushed }

// pushed is one secret, and what it has to become.
type pushed struct {
	role, name, id, version string // of the version that it was compared with; empty: there is none
	changes                 []*lockbox.PayloadEntryChange
	fresh, other, gone      int
}

// NewPush compares the plan's secrets with what they are to hold, by role. No
// error has anything of it.
func NewPush(ctx context.Context, cc grpc.ClientConnInterface, p *cloud.Plan, want map[string]Holding) (*Push, error) {
	f := newFound()
	if err := f.lookAround(ctx, cc, p); err != nil {
		return nil, err
	}
	push := &Push{}
	for _, payload := range p.Payloads {
		one := &pushed{role: payload.Role, name: payload.Secret.Name, id: payload.Secret.ID}
		if one.id == "" {
			there := f.Around[cloud.KindSecret][one.name]
			if there == nil {
				return nil, fmt.Errorf("the folder has no secret %s (make it: pgha-cloud deploy base)", one.name)
			}
			if there.GetLabels()[label] != p.Cluster {
				return nil, fmt.Errorf(notOurs, cloud.KindSecret, one.name, there.GetLabels()[label], p.Cluster)
			}
			one.id = there.GetId()
		} else {
			one.name = one.id
		}
		holding := want[payload.Role]
		for _, entry := range payload.Entries {
			if holding.Entries[entry] == "" {
				return nil, fmt.Errorf("secret %s: there is no entry %s for it (make it: pgha-gen secrets generate)", one.name, entry)
			}
		}
		push.secrets = append(push.secrets, one)
	}
	g := &group{}
	for _, one := range push.secrets {
		g.Go(func() error { return one.compare(ctx, cc, want[one.role]) })
	}
	return push, g.Wait()
}

// compare reads what the secret holds.
func (x *pushed) compare(ctx context.Context, cc grpc.ClientConnInterface, want Holding) error {
	secret, err := lockbox.NewSecretServiceClient(cc).Get(ctx, &lockbox.GetSecretRequest{SecretId: x.id})
	if err != nil {
		return trouble("find secret "+x.name, err)
	}
	have := map[string]string{}
	if x.version = secret.GetCurrentVersion().GetId(); x.version != "" {
		payload, err := lockbox.NewPayloadServiceClient(cc).Get(ctx, &lockbox.GetPayloadRequest{SecretId: x.id, VersionId: x.version})
		if err != nil {
			return trouble("read secret "+x.name, err)
		}
		for _, e := range payload.Entries {
			have[e.Key] = e.GetTextValue()
		}
	}
	for _, key := range slices.Sorted(maps.Keys(want.Entries)) {
		before, there := have[key]
		if there && before == want.Entries[key] {
			continue
		}
		if there {
			x.other++
		} else {
			x.fresh++
		}
		x.changes = append(x.changes, &lockbox.PayloadEntryChange{Key: key, Value: &lockbox.PayloadEntryChange_TextValue{TextValue: want.Entries[key]}})
	}
	for _, key := range want.Gone {
		_, there := have[key]
		if _, wanted := want.Entries[key]; there && !wanted {
			x.gone++
			x.changes = append(x.changes, &lockbox.PayloadEntryChange{Key: key}) // without a value it is removed
		}
	}
	return nil
}

// Do gives the secrets their versions, and says of each what it did. pushed is told
// of each role whose secret holds all by then.
func (p *Push) Do(ctx context.Context, cc grpc.ClientConnInterface, said func(name, sentence string), pushed func(role string) error) error {
	for _, x := range p.secrets {
		if len(x.changes) > 0 {
			op, err := lockbox.NewSecretServiceClient(cc).AddVersion(ctx, &lockbox.AddVersionRequest{SecretId: x.id, PayloadEntries: x.changes, BaseVersionId: x.version})
			if _, err := done[*lockbox.Version](ctx, cc, op, err); err != nil {
				return trouble("give secret "+x.name+" a new version", err)
			}
		}
		if err := pushed(x.role); err != nil {
			return err
		}
		said("secret "+x.name, x.String())
	}
	return nil
}

// String says what is done to the secret.
func (x *pushed) String() string {
	var all []string
	for _, change := range []struct {
		n    int
		what string
	}{{x.fresh, "added"}, {x.other, "changed"}, {x.gone, "removed"}} {
		if change.n > 0 {
			all = append(all, fmt.Sprintf("%d %s", change.n, change.what))
		}
	}
	if len(all) == 0 {
		return "has everything already"
	}
	return "new version: " + strings.Join(all, ", ")
}
