//go:build linux

package isolate_test

import (
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pgha-gen/lab/isolate"
)

// TestGo renames threads: a name is state of the thread, and shows whether it
// is seen elsewhere or outlives it.
func TestGo(t *testing.T) {
	const mark = "pgha-marked"
	var wg sync.WaitGroup
	threads := make(chan int, 50)
	for range cap(threads) {
		wg.Add(1)
		isolate.Go(func() {
			defer wg.Done()
			if got := comm(t, "thread-self"); got == mark+"\n" {
				t.Error("a thread is used a second time")
			}
			if err := os.WriteFile("/proc/thread-self/comm", []byte(mark), 0); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Millisecond)
			if got := comm(t, "thread-self"); got != mark+"\n" {
				t.Errorf("the thread changed: its name is %q", got)
			}
			threads <- unix.Gettid()
		})
	}
	wg.Wait()
	close(threads)
	for id := range threads {
		if id == os.Getpid() {
			t.Error("f ran on the main thread, which cannot end")
		}
	}
	deadline := time.Now().Add(5 * time.Second)
	for marked(t, mark) > 0 {
		if time.Now().After(deadline) {
			t.Fatalf("%d threads outlive what they were made for", marked(t, mark))
		}
		time.Sleep(time.Millisecond)
	}
}

func comm(t *testing.T, task string) string {
	t.Helper()
	b, err := os.ReadFile("/proc/" + task + "/comm")
	if err != nil {
		t.Error(err)
	}
	return string(b)
}

func marked(t *testing.T, mark string) (n int) {
	t.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		if b, err := os.ReadFile("/proc/self/task/" + task.Name() + "/comm"); err == nil && string(b) == mark+"\n" {
			n++
		}
	}
	return n
}
