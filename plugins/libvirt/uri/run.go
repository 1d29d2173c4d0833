package uri

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"time"

	"github.com/labctl-dev/labctl/provider"
)

// Run runs a script for sh on the URI's host, here or through ssh, and returns what it prints. Other ways than these
// lead to libvirt alone: code Unsupported.
func (u URI) Run(ctx context.Context, script string) (string, error) {
	var cmd *exec.Cmd
	switch {
	case u.Local():
		cmd = exec.Command("sh", "-c", script)
	case u.Transport == "ssh":
		var err error
		if cmd, err = u.ssh(nil, "sh -c "+quote(script)); err != nil {
			return "", err
		}
	default:
		return "", &provider.Error{Code: provider.Unsupported, Text: u.Transport + " leads to libvirt alone"}
	}
	said := &talk{changed: make(chan struct{}, 1)}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, said, 2*time.Second
	if err := cmd.Start(); err != nil {
		return "", &provider.Error{Code: provider.Internal, Text: err.Error()}
	}
	stop := context.AfterFunc(ctx, func() { cmd.Process.Kill() })
	defer stop()
	err := cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return "", fmt.Errorf("gave up waiting for a script on %s: %w", u.Text, ctx.Err())
	case err != nil && !u.Local():
		return "", u.sshError(said.String(), err)
	case err != nil:
		return "", &provider.Error{Code: provider.Internal, Text: fmt.Sprintf("%v: %s", err, last(said.String()))}
	}
	return out.String(), nil
}
