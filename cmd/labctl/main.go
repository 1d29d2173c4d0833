// Command labctl makes the lab that one CUE file describes, keeps it so, and takes it away again. This package is the
// command line and nothing else: one file per verb that reads flags, walks the road (road.go), renders and returns an
// exit code.
//
// It must not know a hypervisor: plugins are found and launched as processes, ours like a stranger's.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/labctl-dev/labctl/provider/rpc"
)

func main() {
	rpc.LetPile()
	os.Exit(Main())
}

// Main runs the command line of this process and returns its exit code: 0 done, 1 an error, 2 only where a verb
// documents it, 130 or 143 where a signal ended it; ssh and exec pass on what the remote command returned.
func Main() int { return MainAt(time.Now()) }

// MainAt is Main as if it were now: what has a term is judged by that.
func MainAt(now time.Time) int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c := &cli{in: os.Stdin, out: os.Stdout, err: os.Stderr, now: now}
	c.signals = watchSignals(cancel, func(text string) { fmt.Fprintln(c.err, "labctl: "+text) })
	defer c.signals.close()
	return c.run(ctx, os.Args[1:])
}

// run executes one command line.
func (c *cli) run(ctx context.Context, args []string) int {
	root := c.rootCommand()
	root.SetArgs(singleDash(args))
	err := root.ExecuteContext(ctx)
	var code *exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return code.code
	case ctx.Err() != nil && c.signals.status() != 0:
		fmt.Fprintln(c.err, "labctl: interrupted")
		return c.signals.status()
	}
	c.printError(err)
	if status := c.signals.status(); status != 0 {
		return status
	}
	return 1
}

// exitError ends labctl with a code and without another word: all was said already.
type exitError struct{ code int }

func (e *exitError) Error() string { return fmt.Sprintf("exit status %d", e.code) }
