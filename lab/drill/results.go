package drill

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Results is the folder in which rounds are kept, each as soon as it has ended,
// so that a run that is interrupted can go on.
type Results string

// File has a line of JSON for each round.
func (r Results) File() string { return filepath.Join(string(r), "rounds.jsonl") }

// Load reads the rounds that are there. A last line that is not whole is of a
// round that was interrupted.
func (r Results) Load() ([]Round, error) {
	f, err := os.Open(r.File())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []Round
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 16<<20)
	var damaged error
	for n := 1; lines.Scan(); n++ {
		if damaged != nil {
			return nil, damaged
		}
		var round Round
		if err := json.Unmarshal(lines.Bytes(), &round); err != nil {
			damaged = fmt.Errorf("%s:%d: no round: %w", r.File(), n, err)
			continue
		}
		all = append(all, round)
	}
	return all, lines.Err()
}

// Keep puts a file beside the rounds.
func (r Results) Keep(name string, data []byte) error {
	if err := os.MkdirAll(string(r), 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(string(r), name), data, 0o644)
}

// Add keeps one more round.
func (r Results) Add(round Round) error {
	if err := os.MkdirAll(string(r), 0o755); err != nil {
		return err
	}
	line, err := json.Marshal(round)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(r.File(), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	// What an interrupted run left of a line would spoil this one.
	if info, err := f.Stat(); err == nil && info.Size() > 0 {
		last := make([]byte, 1)
		if _, err := f.ReadAt(last, info.Size()-1); err == nil && last[0] != '\n' {
			line = append([]byte{'\n'}, line...)
		}
	}
	_, err = f.Write(append(line, '\n'))
	return errors.Join(err, f.Close())
}
