package guest

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/lab"
)

// keptFolder has, inside a machine, what commands printed that is to be kept, until Collect has it.
const keptFolder = "/var/lib/labctl/kept"

// Collect brings what m's commands printed and labctl is to keep (lab.Command.Keep) out of the machine: each value is
// given to keep, and removed from the machine once keep has returned without an error. What a run that was killed had
// printed comes under the name with ".interrupted" after it. Nothing there is no error. No error has a value in it.
func Collect(ctx context.Context, sh Shell, m lab.Machine, keep func(name string, value []byte) error) error {
	var names []string
	for _, c := range m.Guest.Commands {
		if c.Keep != "" {
			names = append(names, c.Keep+".interrupted", c.Keep)
		}
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		path := quote(keptFolder + "/" + strings.NewReplacer("%", "%25", "/", "%2F").Replace(name))
		out, err := sh.Run(ctx, asRoot("[ -e "+path+" ] || exit 44; cat "+path), nil)
		switch {
		case err != nil:
			return fmt.Errorf("cannot collect %s from %s: %w", name, m.Name, err)
		case out.Exit == 44:
			continue
		case out.Exit != 0:
			return fmt.Errorf("cannot collect %s from %s: exit status %d: %s", name, m.Name, out.Exit, lastLines(out.Stderr))
		}
		if err := keep(name, out.Stdout); err != nil {
			return fmt.Errorf("cannot keep %s of %s, where it stays until the next apply: %w", name, m.Name, err)
		}
		if _, err := run(ctx, sh, "remove "+name+" from "+m.Name, "shred -u "+path+" 2>/dev/null || rm -f "+path, nil); err != nil {
			return err
		}
	}
	return nil
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
