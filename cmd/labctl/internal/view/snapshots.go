package view

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/labctl-dev/labctl/provider"
)

// Snapshots writes a lab's snapshots, times in the zone that each comes with.
func Snapshots(w io.Writer, lab string, ss []provider.Snapshot, o Options) error {
	pr := &printer{Options: o}
	if len(ss) == 0 {
		pr.line(0, 2, text(fmt.Sprintf("Lab %s has no snapshots.", lab)))
		return pr.flush(w)
	}
	t := &table{header: []string{"snapshot", "taken", "state", "size", "machines", "note"}, shrink: true}
	for _, s := range ss {
		state := span{"complete", green}
		if !s.Complete {
			state = span{"incomplete", alarm}
		}
		size := ""
		if s.Size > 0 {
			size = bytesText(int64(s.Size))
		}
		t.add(text(s.Name), text(s.Taken.Format(time.DateTime)), state, text(size), text(some(s.Machines)), text(strings.Join(lines(s.Note), "; ")))
	}
	t.write(pr, 0)
	for _, s := range ss {
		if !s.Complete {
			pr.line(0, 4, span{s.Name, bold}, text(": half made, or a machine of it was remade since; it cannot be restored, only removed"))
		}
	}
	return pr.flush(w)
}
