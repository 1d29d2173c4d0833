package guest

import (
	"context"
	"fmt"
	"io"
	"strings"
)

// Shell runs commands in a machine as a user who is root or may use sudo without a password.
type Shell interface {
	// Run runs cmd with the user's login shell. An exit status other than 0 is no error; that the machine cannot be
	// reached any more is.
	Run(ctx context.Context, cmd string, stdin io.Reader) (Output, error)
}

// Output is what a command left behind.
type Output struct {
	Stdout, Stderr []byte
	Exit           int // exit status; 128 and the signal's number if a signal ended it
}

// Progress receives what a machine is doing now, in the present ("cloud-init: config"), and how many of total steps
// are done; total is 0 if unknown. It returns at once.
type Progress func(phase string, done, total int64)

// Difference is something in a machine that is not as its document says.
type Difference struct {
	Item string `json:"item"` // "file /etc/motd"
	What string `json:"what"` // "content, mode"
}

// asRoot runs a script, quoted for the login shell, as root.
func asRoot(script string) string {
	q := quote(script)
	return `if [ "$(id -u)" = 0 ]; then exec sh -c ` + q + `; else exec sudo -n sh -c ` + q + `; fi`
}

// run runs script as root and returns what it printed; any exit status but 0 is an error that ends in its output.
func run(ctx context.Context, sh Shell, what, script string, stdin io.Reader) ([]byte, error) {
	out, err := sh.Run(ctx, asRoot(script), stdin)
	if err != nil {
		return nil, fmt.Errorf("cannot %s: %w", what, err)
	}
	if out.Exit != 0 {
		return nil, fmt.Errorf("cannot %s: exit status %d: %s", what, out.Exit, lastLines(out.Stdout, out.Stderr))
	}
	return out.Stdout, nil
}

// lastLines joins the ends of texts, each at most twenty lines.
func lastLines(texts ...[]byte) string {
	var all []string
	for _, t := range texts {
		lines := strings.Split(strings.TrimSpace(string(t)), "\n")
		if len(lines) > 20 {
			lines = lines[len(lines)-20:]
		}
		if s := strings.Join(lines, "\n"); s != "" {
			all = append(all, s)
		}
	}
	return strings.Join(all, "\n")
}
