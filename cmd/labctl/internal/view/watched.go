package view

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// StatusChanges says what is different between two looks at a lab, one line each; of the first look, which has nothing to
// be compared with, everything.
func StatusChanges(before, after LabStatus) []string {
	var out []string
	say := func(kind, name string, fields ...[3]string) {
		var words []string
		for _, f := range fields {
			switch {
			case f[1] == f[2]:
			case f[1] == "":
				words = append(words, f[0]+" "+f[2])
			case f[2] == "":
				words = append(words, f[0]+" "+f[1]+" -> none")
			default:
				words = append(words, f[0]+" "+f[1]+" -> "+f[2])
			}
		}
		if len(words) > 0 {
			out = append(out, clean(kind+" "+name+": "+strings.Join(words, ", ")))
		}
	}
	machines := map[string]MachineStatus{}
	for _, m := range before.Machines {
		machines[m.Name] = m
	}
	for _, m := range after.Machines {
		old := machines[m.Name]
		delete(machines, m.Name)
		say("machine", m.Name, [3]string{"power", old.Power, m.Power}, [3]string{"health", old.Health, m.Health},
			[3]string{"addresses", some(old.Addresses), some(m.Addresses)}, [3]string{"pending", pending(old).text, pending(m).text})
	}
	for _, m := range before.Machines {
		if _, gone := machines[m.Name]; gone {
			out = append(out, clean(fmt.Sprintf("machine %s: gone", m.Name)))
		}
	}
	networks := map[string]NetworkStatus{}
	for _, n := range before.Networks {
		networks[n.Name] = n
	}
	for _, n := range after.Networks {
		old := networks[n.Name]
		say("network", n.Name, [3]string{"state", old.State, n.State}, [3]string{"addresses", old.CIDR, n.CIDR})
	}
	return out
}

// JSONLine writes v as JSON on one line.
func JSONLine(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("cannot write JSON: %w", err)
	}
	return nil
}

// Frame is text as it is drawn on a terminal over what stood there before: at most height lines, the last of which says what
// is missing.
func Frame(text string, height int) string {
	const topLeft, clearLine, clearBelow = "\x1b[H", "\x1b[K", "\x1b[J" // ECMA-48: CUP, EL, ED
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if left := len(lines) - height + 1; left > 1 {
		lines = append(lines[:height-1:height-1], fmt.Sprintf("... %d more lines: the terminal is too low", left))
	}
	return topLeft + strings.Join(lines, clearLine+"\n") + clearLine + clearBelow
}
