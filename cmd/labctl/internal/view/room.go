package view

import (
	"fmt"
	"strings"

	"github.com/labctl-dev/labctl/engine/room"
	"github.com/labctl-dev/labctl/provider"
)

// RoomLines say how a plan's demand compares with what its host has: one line, and one for each problem.
func RoomLines(v *room.Verdict) []string {
	if v == nil {
		return nil
	}
	var lines []string
	if h := v.Has; h.CPUs > 0 || h.Memory > 0 || h.Disk > 0 || len(v.Quotas) == 0 {
		lines = append(lines, roomLine(*v))
	}
	if len(v.Quotas) > 0 {
		lines = append(lines, quotaLine(v.Quotas))
	}
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
	lines := RoomLines(v)
	for i, line := range lines {
		how := faint
		if p := i - len(lines); v != nil && -p <= len(v.Problems) {
			how = yellow
			if v.Problems[len(v.Problems)+p].Refused {
				how = alarm
			}
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

// quotaLine is what is taken of quotas, in one line.
func quotaLine(all []provider.Quota) string {
	text, place := "Quotas:", ""
	for i, q := range all {
		if i > 0 {
			text += ","
		}
		if q.Place != place {
			text += " in " + q.Place
			place = q.Place
		}
		text += fmt.Sprintf(" %s %s more of %s (%s in use)", q.Name, room.Number(q.Needs), room.Number(q.Limit), room.Number(q.Used))
	}
	return text + "."
}
