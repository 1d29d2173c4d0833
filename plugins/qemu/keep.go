package qemu

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/failure"
)

// keep moves a protected disk aside that is about to be deleted: out of the lab's folder, or, where it is in a pool,
// within that, for a pool is where there is room. Its label goes with it.
func (q *qemu) keep(ds dirs, machine, disk string, p provider.Progress) error {
	from, home := ds.disk(machine, disk), q.home
	if pool, file := ds.poolOf(machine, disk); pool != "" {
		from, home = file, pool
	}
	st, err := os.Lstat(from)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return failure.File(err)
	}
	to := provider.Options{Home: home, Target: q.target}.KeptPath(ds.lab, machine, disk, time.Now(), ".qcow2")
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return failure.File(err)
	}
	if err := os.Rename(from, to); err != nil {
		return failure.File(err)
	}
	if err := os.Rename(ds.label(machine, disk), strings.TrimSuffix(to, ".qcow2")+".json"); err != nil && !os.IsNotExist(err) {
		return failure.File(err)
	}
	p(provider.Step{Phase: "keeping its data", Note: fmt.Sprintf("it was protected, so its data is kept: %s (%s)", to, lab.Bytes(st.Size()).Rough())})
	return nil
}
