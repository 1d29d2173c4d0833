package room

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/labctl-dev/labctl/lab"
)

// named is how many things a text names before it counts the rest.
const named = 8

func (j *judge) host() string {
	if j.v.Host == "" {
		return "this host"
	}
	return "host " + j.v.Host
}

// tooManyCPUs says what there are too many of.
func (j *judge) tooManyCPUs(used, most int) string {
	byCPU := slices.Clone(j.asks)
	slices.SortStableFunc(byCPU, func(a, b ask) int { return cmp.Compare(b.cpus, a.cpus) })
	var who []string
	for _, a := range byCPU {
		if a.cpus > 0 {
			who = append(who, fmt.Sprintf("%s %d", a.machine, a.cpus))
		}
	}
	factor := strconv.FormatFloat(j.v.Has.Overcommit, 'g', -1, 64)
	return fmt.Sprintf("needs %s; %s has %s, for %s of which there may be %d in machines (the target's option overcommit), and %d are in use: %s%s",
		count(j.v.Needs.CPUs, "virtual processor"), j.host(), count(j.v.Has.CPUs, "processor"), factor, most, used, some(who), j.others(func(u amounts) string { return strconv.Itoa(u.cpus) }))
}

// tooMuchMemory says what is missing, and who has the rest.
func (j *judge) tooMuchMemory(free lab.Bytes) string {
	return fmt.Sprintf("needs %s of memory; %s has %s, of which %s are free: %s%s",
		Size(j.v.Needs.Memory), j.host(), Size(j.v.Has.Memory), Size(free), j.who(), j.others(func(u amounts) string { return Size(u.memory) }))
}

// promisedMemory says who may want what is free now.
func (j *judge) promisedMemory(free, promised lab.Bytes) string {
	return fmt.Sprintf("needs %s of memory; %s has %s, of which %s are free, but machines that run may still take %s of that%s",
		Size(j.v.Needs.Memory), j.host(), Size(j.v.Has.Memory), Size(free), Size(promised), j.others(func(u amounts) string { return Size(u.memory) }))
}

// who are the machines that the plan starts, with their memory.
func (j *judge) who() string {
	var all []string
	for _, a := range j.asks {
		if a.memory > 0 {
			all = append(all, a.machine+" "+Size(a.memory))
		}
	}
	return some(all)
}

// amounts are what the machines of one owner use.
type amounts struct {
	machines, cpus int
	memory         lab.Bytes
}

// others says what those use whom the plan is not about; "" if nobody is.
func (j *judge) others(of func(amounts) string) string {
	byOwner := map[string]amounts{}
	for _, u := range j.Capacity.Uses {
		owner := "lab " + u.Lab
		switch {
		case u.Lab == "":
			owner = u.Name
		case own(j.Lab, u) && (j.Starts[u.Machine] || j.Ends[u.Machine]):
			continue
		case own(j.Lab, u):
			owner = "what runs of this lab"
		}
		a := byOwner[owner]
		byOwner[owner] = amounts{a.machines + 1, a.cpus + u.CPUs, a.memory + u.Memory}
	}
	var owners []string
	for o := range byOwner {
		owners = append(owners, o)
	}
	slices.SortFunc(owners, func(a, b string) int {
		return cmp.Or(cmp.Compare(byOwner[b].memory, byOwner[a].memory), strings.Compare(a, b))
	})
	var all []string
	for _, o := range owners {
		all = append(all, o+" "+of(byOwner[o]))
	}
	if len(all) == 0 {
		return ""
	}
	return "; others have " + some(all)
}

// tooMuchDisk says what is missing where.
func (j *judge) tooMuchDisk(d *device, once lab.Bytes) string {
	return fmt.Sprintf("needs %s of disk at once in %s on %s, where %s are free: %s",
		Size(once), d.where(), j.host(), Size(d.free), d.who())
}

// promisedDisk says what disks may grow to.
func (j *judge) promisedDisk(d *device, later lab.Bytes) string {
	text := fmt.Sprintf("disks grow as they are written to: new ones to %s in %s on %s, where %s are free", Size(later), d.where(), j.host(), Size(d.free))
	if d.promised > 0 {
		text += fmt.Sprintf(" and those that are there may still take %s", Size(d.promised))
	}
	return text + ": " + d.who()
}

// where are the folders that share the device and that disks are made in.
func (d *device) where() string {
	var paths []string
	for _, s := range d.stores {
		if slices.ContainsFunc(d.disks, func(x Disk) bool { return slices.Contains(s.Pools, x.Pool) }) {
			paths = append(paths, s.Path)
		}
	}
	slices.Sort(paths)
	return strings.Join(slices.Compact(paths), ", ")
}

// who are the disks, the largest first.
func (d *device) who() string {
	disks := slices.Clone(d.disks)
	slices.SortStableFunc(disks, func(a, b Disk) int { return cmp.Compare(b.Size, a.Size) })
	var all []string
	for _, x := range disks {
		all = append(all, x.Name+" "+Size(x.Size))
	}
	return some(all)
}

func some(all []string) string {
	if len(all) <= named+1 {
		return strings.Join(all, ", ")
	}
	return strings.Join(all[:named], ", ") + fmt.Sprintf(" and %d more", len(all)-named)
}

// Size is a size for people: GiB with at most one decimal, below that MiB.
func Size(b lab.Bytes) string {
	if b < lab.GiB {
		return fmt.Sprintf("%d MiB", b/lab.MiB)
	}
	tenths := b * 10 / lab.GiB
	if tenths%10 == 0 || tenths >= 1000 {
		return fmt.Sprintf("%d GiB", tenths/10)
	}
	return fmt.Sprintf("%d.%d GiB", tenths/10, tenths%10)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
