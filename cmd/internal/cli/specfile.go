package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/spf13/cobra"

	"pgha-gen/generator/specfile"
)

// DefaultSpec is the spec that a command reads if none is named.
const DefaultSpec SpecFile = "pgha.yaml"

// SpecFile names a spec; "-" is standard input.
type SpecFile string

// Flag adds --file, which sets the name.
func (f *SpecFile) Flag(cmd *cobra.Command) {
	cmd.Flags().StringVarP((*string)(f), "file", "f", string(DefaultSpec), "the spec; - is standard input")
}

// String is the name in messages.
func (f SpecFile) String() string {
	if f == "-" {
		return "<stdin>"
	}
	return string(f)
}

// Read gives the text of the spec. It stops after the first byte that is more
// than a spec may have, so that whoever parses it can refuse it.
func (f SpecFile) Read(in io.Reader) ([]byte, error) {
	if f != "-" {
		file, err := os.Open(string(f))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("there is no file %q (pgha-gen init writes %s; -f names another)", string(f), DefaultSpec)
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read %q: %w", string(f), Cause(err))
		}
		defer file.Close()
		in = file
	}
	text, err := io.ReadAll(io.LimitReader(in, specfile.MaxSize+1))
	if errors.Is(err, syscall.EISDIR) {
		return nil, fmt.Errorf("%q is a folder (-f names the file in it)", string(f))
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read %q: %w", f.String(), Cause(err))
	}
	return text, nil
}

// Cause is what went wrong, without the operation and path that os adds.
func Cause(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}
