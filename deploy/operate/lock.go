package operate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"pgha-gen/generator/role"
)

// lockKey is in etcd while somebody replaces machines.
const lockKey = "/pgha/replace"

// How long the lock stays behind who was killed, and how often who has it says
// so.
const (
	lockLease = time.Minute
	lockBeat  = 15 * time.Second
)

// Lock is the right to replace machines of a cluster, which one at a time has.
type Lock struct {
	client *Client
	who    string
	stop   context.CancelFunc
	beats  sync.WaitGroup

	mu    sync.Mutex
	lease string
}

// Lock takes the lock for somebody whom others can find. Refused: Held, while
// somebody else has it. Who is killed loses it within a minute.
func (c *Client) Lock(ctx context.Context, who string) (*Lock, error) {
	l := &Lock{client: c, who: who}
	if err := l.take(ctx); err != nil {
		return nil, err
	}
	beating, stop := context.WithCancel(ctx)
	l.stop = stop
	l.beats.Go(func() {
		for {
			select {
			case <-beating.Done():
				return
			case <-time.After(lockBeat):
				_, _ = l.beat(beating) // Keep finds it out
			}
		}
	})
	return l, nil
}

// Held is that somebody else has the lock.
type Held struct{ Who string }

func (h *Held) Error() string {
	return fmt.Sprintf("%q replaces machines of this cluster just now (run this again when that has ended; if it was killed, after a minute)", h.Who)
}

// Keep makes sure that the lock is held. One that was lost, since etcd could not
// be reached for long, is taken again.
func (l *Lock) Keep(ctx context.Context) error {
	held, err := l.beat(ctx)
	if err != nil || held {
		return err
	}
	return l.take(ctx)
}

// Release gives the lock back. Where that cannot be, it ends by itself.
func (l *Lock) Release() {
	l.stop()
	l.beats.Wait()
	ctx, end := context.WithTimeout(context.Background(), 2*l.client.world.Patience)
	defer end()
	_ = l.client.askEtcd(ctx, "/v3/lease/revoke", map[string]string{"ID": l.lease}, new(struct{}))
}

// beat prolongs the lease; false: it has ended.
func (l *Lock) beat(ctx context.Context) (held bool, _ error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var answer struct {
		Result struct {
			TTL string // none: it has ended
		} `json:"result"`
	}
	err := l.client.askEtcd(ctx, "/v3/lease/keepalive", map[string]string{"ID": l.lease}, &answer)
	return answer.Result.TTL != "", err
}

// take puts a key with a new lease there, if there is none.
func (l *Lock) take(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var lease struct{ ID string }
	if err := l.client.askEtcd(ctx, "/v3/lease/grant", map[string]string{"TTL": fmt.Sprint(int(lockLease.Seconds()))}, &lease); err != nil {
		return err
	}
	key := []byte(lockKey) // bytes are base64 in JSON, as the gateway wants them
	var answer struct {
		Succeeded bool
		Responses []struct {
			Range struct {
				KVs []struct {
					Value []byte
					Lease string
				}
			} `json:"response_range"`
		}
	}
	err := l.client.askEtcd(ctx, "/v3/kv/txn", map[string]any{
		"compare": []any{map[string]any{"key": key, "target": "CREATE", "result": "EQUAL", "create_revision": "0"}},
		"success": []any{map[string]any{"request_put": map[string]any{"key": key, "value": []byte(l.who), "lease": lease.ID}}},
		"failure": []any{map[string]any{"request_range": map[string]any{"key": key}}},
	}, &answer)
	if err != nil {
		return err
	}
	if !answer.Succeeded {
		// A first answer may be lost: then this is the second question, and the
		// key is there by the first.
		if len(answer.Responses) == 0 || len(answer.Responses[0].Range.KVs) == 0 {
			return errors.New("etcd says neither that the lock is taken nor by whom")
		}
		if kv := answer.Responses[0].Range.KVs[0]; kv.Lease != lease.ID {
			_ = l.client.askEtcd(ctx, "/v3/lease/revoke", map[string]string{"ID": lease.ID}, new(struct{}))
			return &Held{string(kv.Value)}
		}
	}
	l.lease = lease.ID
	return nil
}

// askEtcd asks one member after the other, until one answers.
func (c *Client) askEtcd(ctx context.Context, path string, body, into any) (err error) {
	for i, n := range c.cluster.Offering(role.DCS) {
		if err = c.ask(ctx, http.MethodPost, c.etcd(i, path), body, into); err == nil {
			return nil
		}
		err = fmt.Errorf("%s: %w", n.Name, err)
	}
	return err
}
