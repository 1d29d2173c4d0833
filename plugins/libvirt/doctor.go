package libvirt

import (
	"context"

	"github.com/labctl-dev/labctl/provider"
)

// Doctor implements provider.Doctor.
func (v *virt) Doctor(ctx context.Context) ([]provider.Diagnosis, error) {
	return nil, ctx.Err()
}
