// Package failure gives errors that this host makes on behalf of a provider, of files and of the image store, the
// codes of the contract. It must not know any hypervisor.
package failure

import (
	"errors"
	"io/fs"
	"os/exec"
	"syscall"

	"github.com/labctl-dev/labctl/image"
	"github.com/labctl-dev/labctl/provider"
)

// File gives an error of the file system, or of starting a program, its code; nil stays nil, and an error that has a
// code keeps it.
func File(err error) error {
	var e *provider.Error
	if err == nil || errors.As(err, &e) {
		return err
	}
	code := provider.CodeOf(err)
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.ENOMEM):
		code = provider.Full
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		code = provider.Denied
	case errors.Is(err, fs.ErrNotExist):
		code = provider.NotFound
	case errors.Is(err, exec.ErrNotFound):
		code = provider.Missing
	}
	return &provider.Error{Code: code, Text: err.Error()}
}

// Image gives the image store's errors their codes, and others those of File; nil stays nil.
func Image(err error) error {
	var e *image.Error
	if !errors.As(err, &e) {
		return File(err)
	}
	codes := map[image.Code]provider.Code{
		image.Invalid: provider.Invalid, image.Unreachable: provider.Unavailable, image.Stalled: provider.Unavailable, image.Truncated: provider.Unavailable,
		image.Refused: provider.NotFound, image.Digest: provider.Corrupt, image.Corrupt: provider.Corrupt, image.Full: provider.Full,
		image.Denied: provider.Denied, image.NotFound: provider.NotFound, image.Ambiguous: provider.Invalid, image.Canceled: provider.Canceled,
		image.MissingTool: provider.Missing,
	}
	code, ok := codes[e.Code]
	if !ok {
		code = provider.Internal
	}
	text := e.Text
	if code == provider.Missing && len(e.Tools) > 0 {
		text = e.Tools[0].Name
	}
	return &provider.Error{Code: code, Text: text}
}
