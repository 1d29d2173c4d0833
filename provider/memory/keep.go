package memory

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// keep puts a protected disk aside that is about to be deleted. There is nothing on it but what it is.
func (p *memory) keep(o provider.Observed, progress provider.Progress) error {
	machine, name, err := o.Addr.Disk()
	if err != nil {
		return err
	}
	b, err := json.Marshal(o)
	if err != nil {
		return err
	}
	path := p.options.KeptPath(o.Lab, machine, name, time.Now(), ".json")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(path, append(b, '\n'), 0o600); err != nil {
		return err
	}
	progress(provider.Step{Phase: "keeping its data", Note: fmt.Sprintf("it was protected, so its data is kept: %s (%s)", path, lab.Bytes(len(b)+1).Rough())})
	return nil
}
