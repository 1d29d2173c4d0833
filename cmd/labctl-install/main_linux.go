// Command labctl-install is the first process of an initrd that a target boots from the network: it installs the machine
// and restarts it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"github.com/labctl-dev/labctl/install"
	"github.com/labctl-dev/labctl/install/first"
)

// again is how long a machine that could not be installed waits until it restarts and tries anew.
const again = 30 * time.Second

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "labctl-install is the first process of a target's initrd: it would restart this machine")
		os.Exit(1)
	}
	after, err := run()
	if err != nil {
		fmt.Printf("labctl-install: %v\nlabctl-install: restarting in %s\n", err, again)
		time.Sleep(again)
	}
	end := first.Restart
	if err == nil && after == install.PowerOff {
		end = first.PowerOff
	}
	err = end()
	panic(err) // the first process must not end: the kernel's panic= restarts
}

// run installs. A mistake of ours ends as any other failure does.
func run() (after install.After, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("a mistake in the installer: %v\n%s", p, debug.Stack())
		}
	}()
	if err := first.Mount(); err != nil {
		return "", err
	}
	text, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return "", err
	}
	line, err := first.ReadLine(string(text))
	if err != nil {
		return "", err
	}
	failed, err := first.LoadModules()
	for _, f := range failed {
		fmt.Println("labctl-install: module", f)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) { // a kernel may need none
		return "", err
	}
	if line.Shell {
		return install.Restart, line.RunShell(context.Background())
	}
	in := install.Installer{Connect: line.Connect, Server: line.Server, Console: os.Stdout, Sys: "/sys", Dev: "/dev"}
	return in.Run(context.Background())
}
