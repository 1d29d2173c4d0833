// Package probe asks from inside machines what can be reached from there, over a shell in each: it lets a machine
// listen for the moment, lets others ask, reads what a packet filter counted meanwhile, and runs declared checks.
//
// The program that does it inside is Python 3.9 or later, standard library only; it is sent each time, writes no file
// and leaves nothing behind. This package must not know what the answers mean: that is check/live.
package probe

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/labctl-dev/labctl/guest"
	"github.com/labctl-dev/labctl/guest/checks"
)

var (
	//go:embed common.py
	common string
	//go:embed listen.py
	listen string
	//go:embed ask.py
	ask string
	//go:embed check.py
	check string
	//go:embed main.py
	end string
)

// program is the text of the program.
func program() string {
	return strings.Join([]string{common, listen, ask, checks.Program(), check, end}, "\n\n")
}

// request is the first line of the program's standard input: itself, and what it shall do.
type request struct {
	Program string `json:"program"`
	Request any    `json:"request"`
}

// script starts the program as root. It comes by standard input, so that nothing stays in the machine.
const script = `if [ "$(id -u)" = 0 ]; then exec python3 -c "$P"; else exec sudo -n python3 -c "$P"; fi`

const loader = `P='import sys, json
d = json.loads(sys.stdin.readline())
exec(compile(d["program"], "probe", "exec"), {"__name__": "probe", "REQUEST": d["request"]})'
`

// run lets a machine do one request and reads its answer into v, nil for none. rest is what follows the request on
// standard input.
func run(ctx context.Context, sh guest.Shell, what string, do any, rest io.Reader, v any) error {
	in, err := json.Marshal(request{program(), do})
	if err != nil {
		return fmt.Errorf("cannot %s: %w", what, err)
	}
	var stdin io.Reader = bytes.NewReader(append(in, '\n'))
	if rest != nil {
		stdin = io.MultiReader(stdin, rest)
	}
	out, err := sh.Run(ctx, loader+script, stdin)
	if err != nil {
		return fmt.Errorf("cannot %s: %w", what, err)
	}
	if out.Exit != 0 {
		return fmt.Errorf("cannot %s: exit status %d: %s", what, out.Exit, last(out.Stderr))
	}
	if v == nil {
		return nil
	}
	if err := json.Unmarshal(out.Stdout, v); err != nil {
		return fmt.Errorf("cannot %s: its answer is unreadable: %w", what, err)
	}
	return nil
}

// last is the last line of what a program said.
func last(b []byte) string {
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return lines[len(lines)-1]
}
