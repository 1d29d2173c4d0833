package libvirt

import (
	"context"
	"errors"
	"os"
	"syscall"

	"github.com/labctl-dev/labctl/image"
	"github.com/labctl-dev/labctl/provider"
)

// ended is the error of a call that was given up before it began; nil while ctx goes on.
func ended(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return &provider.Error{Code: provider.CodeOf(err), Text: err.Error()}
	}
	return nil
}

// fileError gives errors of this host's file system the provider's codes; nil stays nil.
func fileError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return &provider.Error{Code: provider.Full, Text: err.Error()}
	case errors.Is(err, os.ErrPermission):
		return &provider.Error{Code: provider.Denied, Text: err.Error()}
	}
	return err
}

// imageError gives the image store's errors the provider's codes; nil stays nil.
func imageError(err error) error {
	var e *image.Error
	if !errors.As(err, &e) {
		return fileError(err)
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
