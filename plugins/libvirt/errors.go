package libvirt

import (
	"context"

	"github.com/labctl-dev/labctl/provider"
)

// ended is the error of a call that was given up before it began; nil while ctx goes on.
func ended(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return &provider.Error{Code: provider.CodeOf(err), Text: err.Error()}
	}
	return nil
}
