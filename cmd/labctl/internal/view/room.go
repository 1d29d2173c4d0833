package view

import (
	"fmt"
	"strings"

	"github.com/labctl-dev/labctl/engine/room"
)

// RoomLines say how a plan's demand compares with what its host has: one line, and one for each problem.
func RoomLines(v *room.Verdict) []string {
	if v == nil {
		return nil
	}
	lines := []string{roomLine(*v)}
	for _, p := range v.Problems {
		lines = append(lines, problemWord(p)+p.Text+".")
	}
	return lines
}

func problemWord(p room.Problem) string {
	if p.Refused {
		return "Refused: "
	}
	return "Warning: "
}

// room writes what RoomLines say.
func (pr *printer) room(v *room.Verdict) {
	for i, line := range RoomLines(v) {
		how := faint
		if i > 0 && v.Problems[i-1].Refused {
			how = alarm
		} else if i > 0 {
			how = yellow
		}
		pr.line(0, 2, span{line, how})
	}
}

// roomLine is demand and supply in one line.
func roomLine(v room.Verdict) string {
	var needs, has []string
	if n := v.Needs.CPUs; n > 0 {
		needs = append(needs, plural(n, "processor"))
	}
	if v.Needs.Memory > 0 {
		needs = append(needs, room.Size(v.Needs.Memory)+" of memory")
	}
	if v.Needs.Disk > 0 {
		needs = append(needs, "up to "+room.Size(v.Needs.Disk)+" of disk")
	}
	if len(needs) == 0 {
		needs = []string{"nothing more"}
	}
	if h := v.Has; h.CPUs > 0 {
		text := plural(h.CPUs, "processor")
		if h.CPUsInUse > 0 {
			text += fmt.Sprintf(" (%d given to machines)", h.CPUsInUse)
		}
		has = append(has, text)
	}
	if h := v.Has; h.Memory > 0 {
		has = append(has, fmt.Sprintf("%s of memory, %s free", room.Size(h.Memory), room.Size(h.Free)))
	}
	if v.Has.Disk > 0 {
		has = append(has, room.Size(v.Has.Disk)+" of disk free")
	}
	host := "this host"
	if v.Host != "" {
		host = v.Host
	}
	return fmt.Sprintf("Room: needs %s; %s has %s.", strings.Join(needs, ", "), host, strings.Join(has, ", "))
}
