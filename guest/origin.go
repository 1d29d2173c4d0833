package guest

import (
	"fmt"
	"slices"

	"github.com/labctl-dev/labctl/lab"
)

// seeds gives the seeds among files their identities: what the machines that they are of would be made of. The machines in
// whose documents they stand are those of way; check.Vet has refused what ends nowhere.
func (k *maker) seeds(files []lab.File, way []string) error {
	for i := range files {
		f := &files[i]
		if f.From == nil || f.From.Seed == "" {
			continue
		}
		m, ok := k.machines[f.From.Seed]
		if !ok || slices.Contains(way, m.Name) {
			return fmt.Errorf("%s: there is no seed of machine %q to put there", f.Path, f.From.Seed)
		}
		d, err := k.document(*m, append(way, m.Name)...)
		if err != nil {
			return err
		}
		from := *f.From // the lab's own stays as it is
		from.ID = d.Digest
		f.From = &from
	}
	return nil
}
