package qemu

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/failure"
)

// Capacity implements provider.Measurer. The machines that it knows are those below the same home, whatever lab or
// target they are of; what else runs on this host is seen only by the memory that is not free.
func (q *qemu) Capacity(ctx context.Context, l lab.Lab) (provider.Capacity, error) {
	c := provider.Capacity{CPUs: runtime.NumCPU(), Limits: provider.Limits{Judge: provider.Judgement(q.opts.Capacity), Overcommit: q.opts.Overcommit}}
	c.Memory, c.Free = hostMemory()
	targets, _ := filepath.Glob(filepath.Join(q.home, "labs", "*", "targets", "*"))
	promised := map[string]lab.Bytes{} // by device
	for _, folder := range targets {
		ds := dirsAt(q.home, filepath.Base(filepath.Dir(filepath.Dir(folder))), filepath.Base(folder))
		if err := ctx.Err(); err != nil {
			break
		}
		c.Uses = append(c.Uses, ds.uses()...)
		ds.promises(promised)
	}
	if err := ctx.Err(); err != nil {
		return provider.Capacity{}, provider.Wrap("measure the host", provider.Addr{}, failure.File(err))
	}
	folders, err := pools(l)
	if err != nil {
		return provider.Capacity{}, err
	}
	here := []string{""}
	for _, p := range l.Pools {
		if folders[p.Name] == "" {
			here = append(here, p.Name)
		}
	}
	c.Stores = append(c.Stores, storeAt(q.home, here...))
	for _, p := range l.Pools {
		if folders[p.Name] != "" {
			c.Stores = append(c.Stores, storeAt(folders[p.Name], p.Name))
		}
	}
	c.Stores = slices.DeleteFunc(c.Stores, func(s provider.Store) bool { return s.Device == "" })
	for i, s := range c.Stores {
		c.Stores[i].Promised = promised[s.Device]
		delete(promised, s.Device) // once is enough for all stores of a device
	}
	return c, nil
}

// uses are the lab's machines that run, with what they were started with.
func (ds dirs) uses() []provider.Use {
	paths, _ := filepath.Glob(filepath.Join(ds.machines(), "*", "machine.json"))
	var all []provider.Use
	for _, path := range paths {
		name := filepath.Base(filepath.Dir(path))
		pid := processOf(ds, name)
		d, err := ds.load(name)
		if pid == 0 || err != nil || d == nil {
			continue
		}
		all = append(all, provider.Use{
			Name: fmt.Sprintf("%s/%s, process %d", ds.lab, name, pid), Lab: ds.lab, Target: ds.target, Machine: name,
			CPUs: d.Attrs.CPUs, Memory: d.Attrs.Memory, Resident: min(resident(pid), d.Attrs.Memory),
		})
	}
	return all
}

// promises adds what the lab's disks may still grow by to the devices that they are on.
func (ds dirs) promises(to map[string]lab.Bytes) {
	paths, _ := filepath.Glob(filepath.Join(ds.data, "disks", "*", "*.qcow2"))
	for _, path := range paths {
		head, err := readHeader(path)
		st, serr := os.Stat(path)
		if err != nil || serr != nil {
			continue // it is just made, or deleted
		}
		used := lab.Bytes(0)
		if s, ok := st.Sys().(*syscall.Stat_t); ok {
			used = lab.Bytes(s.Blocks) * 512 // stat(2): whatever the file system's blocks are
			to[fmt.Sprint(s.Dev)] += head.size - min(head.size, used)
		}
	}
}

// storeAt is the space where a folder is, or will be. It has no device if that cannot be told.
func storeAt(folder string, pools ...string) provider.Store {
	s := provider.Store{Pools: pools, Path: folder}
	near := ancestor(folder)
	var fs syscall.Statfs_t
	st, err := os.Stat(near)
	if err != nil || syscall.Statfs(near, &fs) != nil {
		return s
	}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		s.Device = fmt.Sprint(sys.Dev)
		s.Size, s.Free = lab.Bytes(fs.Blocks)*lab.Bytes(fs.Bsize), lab.Bytes(fs.Bavail)*lab.Bytes(fs.Bsize)
	}
	return s
}

// kib is the number of KiB that stands in the line of a text that begins with word; 0 if there is none.
func kib(text, word string) lab.Bytes {
	for line := range strings.Lines(text) {
		var n uint64
		if rest, ok := strings.CutPrefix(line, word); ok {
			if _, err := fmt.Sscan(rest, &n); err == nil {
				return lab.Bytes(n) * lab.KiB
			}
		}
	}
	return 0
}
