package emit

import (
	"bytes"
	"math/rand"
	"os/exec"
	"strings"
	"testing"

	"pgha-gen/internal/testkit"
)

// python returns an interpreter that has the module. Debian's own comes
// first: its modules are packages, and another python3 in PATH lacks them.
func python(t *testing.T, module string) string {
	t.Helper()
	for _, p := range []string{"/usr/bin/python3", "python3"} {
		if exec.Command(p, "-c", "import "+module).Run() == nil {
			return p
		}
	}
	testkit.Missing(t, "no python3 has the module %s", module)
	return ""
}

func output(t *testing.T, stdin []byte, name string, args ...string) []byte {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(stdin), &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, stderr.Bytes())
	}
	return out
}

// nasty returns n strings, always the same, made of pieces that some reader
// takes for more than text. Those of strange do not fit into one line.
func nasty(n int, strange bool) []string {
	pieces := strings.Split("a b 1 0x e3 . - _ / : , # ' \" \\ $ ` ! & * ? | > < % @ { } [ ] ( ) ; = ~ ^ + << --- ... "+
		"yes NO on Null ~ .inf .nan 1e3 0o17 2001-01-01 12:30 0777 ${HOME} $HOME $(id) `id` \\n \\x41 é 日 🙂 ` ''' \"\" !!str ?? '", " ")
	pieces = append(pieces, " ", " ", "  ", ": ", " #", "- ")
	if strange {
		pieces = append(pieces, "\n", "\n", "\n ", "\n\n", "\t", "\r", "\r\n", "\x00", "\x1b", "\x7f", "\u0085", "\u00a0",
			"\u2028", "\u2029", "\ufeff", "\ufffe", "\ufffd", "\U0001f600", "\U0010ffff", "\u200b", "\n---\n", "\n# c\n", " \n", "\t\n", "\n\t")
	}
	r := rand.New(rand.NewSource(1))
	list := []string{"", " ", "'", `"`, `\`, "$", "#", "-", "y", "true", "null", "=", "<<", "~", "0x_", "0b_", "1_0", "1:20", "Infinity"}
	for len(list) < n {
		var b strings.Builder
		for range 1 + r.Intn(7) {
			b.WriteString(pieces[r.Intn(len(pieces))])
		}
		list = append(list, b.String())
	}
	return list
}
