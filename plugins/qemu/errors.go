package qemu

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/failure"
)

// programError gives the failure of a program a code by its last words: programs say it in no other way.
func programError(what string, err error, output string) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || errors.Is(err, exec.ErrNotFound) {
		return failure.File(err)
	}
	output = strings.TrimSpace(output)
	code := provider.Internal
	for _, c := range []struct {
		words string
		code  provider.Code
	}{
		{"No space left", provider.Full}, {"Disk quota", provider.Full}, {"Cannot allocate memory", provider.Full}, {"cannot set up guest memory", provider.Full},
		{"Permission denied", provider.Denied}, {"Read-only file system", provider.Denied},
		{"Failed to get \"write\" lock", provider.InUse}, {"Failed to get shared \"write\" lock", provider.InUse}, {"Address already in use", provider.InUse},
		{"No such file", provider.NotFound}, {"Could not open", provider.NotFound},
	} {
		if strings.Contains(output, c.words) {
			code = c.code
			break
		}
	}
	if output == "" {
		output = err.Error()
	}
	return &provider.Error{Code: code, Text: what + ": " + lastLines(output, 5)}
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return strings.Join(lines, "; ")
}

// run runs a program to its end and returns what it printed. A program that is not there is code Missing, with its
// name as the text.
func run(ctx context.Context, name string, args ...string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", &provider.Error{Code: provider.Missing, Text: name}
	}
	cmd := exec.CommandContext(ctx, path, args...)
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return "", failure.File(ctx.Err())
	}
	if err != nil {
		return string(out), programError(name+" "+args[0], err, string(out))
	}
	return string(out), nil
}

func owner(st os.FileInfo) int {
	if s, ok := st.Sys().(*syscall.Stat_t); ok {
		return int(s.Uid)
	}
	return -1
}
