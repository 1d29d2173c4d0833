package qemu

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/failure"
)

// A disk in a pool with a path is a file below that path, and a symbolic link to it stands where the disk would be
// else; so everything finds it there, and the lab's folder still says all there is of the lab.

// poolImages is the pool of images by its name (lab.Pool).
const poolImages = "images"

// pools are the folders of the lab's pools by name, as far as the lab says.
func pools(l lab.Lab) (map[string]string, error) {
	paths := map[string]string{}
	for _, p := range l.Pools {
		refuse := func(code provider.Code, why string) error {
			return &provider.Error{Op: "expand", Code: code, Text: fmt.Sprintf("pools.%s.path: %s", p.Name, why)}
		}
		switch {
		case p.Path == "":
		case p.Name == poolImages:
			return nil, refuse(provider.Unsupported, "QEMU's images are kept in labctl's own store, which all labs share; leave the path out")
		case !filepath.IsAbs(p.Path):
			return nil, refuse(provider.Invalid, fmt.Sprintf("%q is no absolute path", p.Path))
		default:
			paths[p.Name] = filepath.Clean(p.Path)
		}
	}
	return paths, nil
}

// pooled is where a disk is in the pool at path. The folder below it is this lab's on this target, and no other's.
func (ds dirs) pooled(path, machine, disk string) string {
	return filepath.Join(path, ds.lab+"-"+key(ds.data), machine, disk+".qcow2")
}

// poolOf is the path of the pool that a disk is in, and its file there; "" if it is in none.
func (ds dirs) poolOf(machine, disk string) (path, file string) {
	file, err := os.Readlink(ds.disk(machine, disk))
	if err != nil {
		return "", ""
	}
	path = filepath.Dir(filepath.Dir(filepath.Dir(file)))
	if file != ds.pooled(path, machine, disk) { // somebody's own doing
		return "", ""
	}
	return path, file
}

// settle prepares the place of a disk that is about to be made, and returns its file. The link comes first, so that
// nothing is in a pool which the lab does not know of.
func (ds dirs) settle(pool, machine, disk string) (file string, err error) {
	link := ds.disk(machine, disk)
	if path, old := ds.poolOf(machine, disk); path != "" {
		if folder := filepath.Dir(filepath.Dir(old)); path == pool && !exists(folder) {
			return "", &provider.Error{Code: provider.NotFound, Text: fmt.Sprintf("the disk was in %s, which is not there: mount its pool, or make the folder if the disk is lost", folder)}
		}
		if err := ds.unpool(machine, disk); err != nil {
			return "", err
		}
	}
	if pool == "" {
		return link, failure.File(os.MkdirAll(filepath.Dir(link), 0o755))
	}
	file = ds.pooled(pool, machine, disk)
	for _, dir := range []string{filepath.Dir(file), filepath.Dir(link)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return "", failure.File(err)
		}
	}
	return file, failure.File(os.Symlink(file, link))
}

// unpool removes a disk's file from its pool, and the link to it. The pool's own folder stays.
func (ds dirs) unpool(machine, disk string) error {
	_, file := ds.poolOf(machine, disk)
	if file == "" {
		return nil
	}
	for _, path := range []string{file, file + ".new", ds.disk(machine, disk)} {
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			return failure.File(err)
		}
	}
	os.Remove(filepath.Dir(file)) // if they are empty now
	os.Remove(filepath.Dir(filepath.Dir(file)))
	return nil
}

// sweepPools removes what half made disks have left in pools.
func (ds dirs) sweepPools() error {
	links, _ := filepath.Glob(filepath.Join(ds.data, "disks", "*", "*.qcow2"))
	for _, link := range links {
		machine, disk := ds.named(link)
		if err := ds.unpool(machine, disk); err != nil {
			return err
		}
	}
	return nil
}
