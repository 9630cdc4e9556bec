package cli

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"
)

// Confirm asks on a terminal whether to go on, and takes yes alone for yes. ok
// is false where nobody can be asked.
func (s Streams) Confirm(question string) (yes, ok bool) {
	in, isFile := s.In.(*os.File)
	if _, terminal := s.terminal(); !terminal || !isFile || !term.IsTerminal(int(in.Fd())) {
		return false, false
	}
	fmt.Fprintf(s.Err, "%s [y/N] ", question)
	answer, err := bufio.NewReader(in).ReadString('\n')
	if err != nil {
		fmt.Fprintln(s.Err)
	}
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes", true
}
