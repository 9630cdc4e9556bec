package yandex

import "sync"

// group runs functions side by side, and has the first error.
type group struct {
	work   sync.WaitGroup
	mu     sync.Mutex
	failed error
}

func (g *group) Go(f func() error) {
	g.work.Go(func() {
		g.fail(f())
	})
}

func (g *group) fail(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.failed == nil {
		g.failed = err
	}
}

// Failed tells whether one has failed, so that no other need begin.
func (g *group) Failed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.failed != nil
}

// Wait waits for all of them.
func (g *group) Wait() error {
	g.work.Wait()
	return g.failed
}
