package libvirt

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/guest/seediso"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/libvirt/libvirttest"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/providertest/tiny"
)

// bench is a provider with a home of its own, on a libvirt host of the test's own.
type bench struct {
	*testing.T
	v *virt
	d *libvirttest.Daemon
}

// onHost runs f on a libvirt host that was made for it, beside other such tests: most of the time they wait for libvirtd
// and for each other's machines to stop.
func onHost(t *testing.T, f func(w bench)) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a libvirtd and machines")
	}
	t.Parallel()
	libvirttest.Inside(t, libvirttest.Config{}, func(t *testing.T, d *libvirttest.Daemon) {
		f(newBench(t, d, nil))
	})
}

func newBench(t *testing.T, d *libvirttest.Daemon, values map[string]any) bench {
	t.Helper()
	all := map[string]any{"uri": d.URI, "type": "qemu", "stop": "1s"}
	for k, v := range values {
		all[k] = v
	}
	v, err := open(provider.Options{Home: t.TempDir(), Target: "local", Values: all})
	if err != nil {
		t.Fatal(err)
	}
	return bench{t, v, d}
}

// observe returns what exists, by address.
func (w bench) observe(l lab.Lab) map[string]provider.Observed {
	w.Helper()
	all, err := w.v.Observe(w.Context(), l)
	if err != nil {
		w.Fatal(err)
	}
	by := map[string]provider.Observed{}
	for _, o := range all {
		by[o.Addr.String()] = o
	}
	return by
}

// apply is try that must succeed.
func (w bench) apply(l lab.Lab) []string {
	w.Helper()
	did, err := w.try(w.Context(), l)
	if err != nil {
		w.Fatal(err)
	}
	return did
}

// try does what the engine does, one thing after the other, and returns what it did up to the first error.
func (w bench) try(ctx context.Context, l lab.Lab) (did []string, err error) {
	w.Helper()
	seeds := map[string]lab.Seed{}
	for _, m := range l.Machines {
		seeds[m.Name] = seed(m.Name)
	}
	desired, err := w.v.Expand(l, seeds)
	if err != nil {
		return nil, err
	}
	found, err := w.v.Observe(ctx, l)
	if err != nil {
		return nil, err
	}
	want, have := map[provider.Addr]provider.Resource{}, map[provider.Addr]provider.Observed{}
	for _, r := range desired {
		if err := Description().Check(r); err != nil {
			return nil, err
		}
		want[r.Addr] = r
	}
	for _, o := range found {
		have[o.Addr] = o
	}
	kinds := Description().Kinds
	for i := len(kinds) - 1; i >= 0; i-- {
		for _, o := range found {
			if _, ok := want[o.Addr]; ok || o.Addr.Kind != kinds[i].Name || o.Shared || o.Addr.Kind == kindDisk {
				continue
			}
			did = append(did, "delete "+o.Addr.Kind+"/"+o.Addr.Name)
			if err := w.v.Delete(ctx, o, provider.Silent); err != nil {
				return did, err
			}
		}
	}
	for _, k := range kinds {
		for _, r := range desired {
			if r.Addr.Kind != k.Name {
				continue
			}
			if k.Seeded {
				s := seeds[r.Machine]
				r.Seed = &s
			}
			o, ok := have[r.Addr]
			switch {
			case !ok:
				did = append(did, "create "+r.Addr.Kind+"/"+r.Addr.Name)
				err = w.v.Create(ctx, r, provider.Silent)
			case !cmp.Equal(o.Attrs, r.Attrs):
				did = append(did, "update "+r.Addr.Kind+"/"+r.Addr.Name)
				err = w.v.Update(ctx, o, r, provider.Silent)
			}
			if err != nil {
				return did, err
			}
		}
	}
	for _, o := range found { // disks last: machines must have let go of them
		if _, ok := want[o.Addr]; !ok && o.Addr.Kind == kindDisk {
			did = append(did, "delete disk/"+o.Addr.Name)
			if err := w.v.Delete(ctx, o, provider.Silent); err != nil {
				return did, err
			}
		}
	}
	return did, nil
}

func seed(machine string) lab.Seed {
	return lab.Seed{Machine: machine, UserData: []byte("#cloud-config\n"), MetaData: []byte("instance-id: x\n"), NetworkConfig: []byte("version: 2\n"), Digest: "sha256:1"}
}

// whole fails unless the images and seeds of a lab are on the host to the last byte.
func (w bench) whole(l lab.Lab) {
	w.Helper()
	is := func(file string, want []byte) {
		w.Helper()
		got, err := os.ReadFile(file)
		if err != nil || !bytes.HasPrefix(got, want) {
			w.Errorf("%s is not what was uploaded: %v, %d bytes of %d", file, err, len(got), len(want))
		}
	}
	for _, i := range l.Images {
		local, _, err := w.v.store().Find(i)
		if err != nil {
			w.Fatal(err)
		}
		b, err := os.ReadFile(local.Disk)
		if err != nil {
			w.Fatal(err)
		}
		is(filepath.Join(w.v.opts.PoolPath, imagePool, imageVolume(local.ID)), b)
	}
	for _, m := range l.Machines {
		var iso bytes.Buffer
		if err := seediso.Write(&iso, seed(m.Name)); err != nil {
			w.Fatal(err)
		}
		is(filepath.Join(w.v.opts.PoolPath, diskPool, seedVolume(l.Name, m.Name)), iso.Bytes())
	}
}

// settled fails unless a second look finds nothing to do: the law of providers.
func (w bench) settled(l lab.Lab) {
	w.Helper()
	desired, err := w.v.Expand(l, nil)
	if err != nil {
		w.Fatal(err)
	}
	have := w.observe(l)
	for _, r := range desired {
		o, ok := have[r.Addr.String()]
		if r.Addr.Kind == kindGuest && ok {
			delete(o.Attrs, "digest")
			delete(r.Attrs, "digest")
		}
		if d := cmp.Diff(r.Attrs, o.Attrs); d != "" {
			w.Errorf("%s (-desired +observed):\n%s", r.Addr, d)
		}
		delete(have, r.Addr.String())
	}
	for a, o := range have {
		if !o.Shared {
			w.Errorf("observed, but not desired: %s %v", a, o.Attrs)
		}
	}
	if w.Failed() {
		w.FailNow()
	}
}

// clear destroys a lab and checks that nothing of it is left on the host.
func (w bench) clear(l lab.Lab) {
	w.Helper()
	w.apply(lab.Lab{Name: l.Name, Target: l.Target})
	w.gone(l.Name)
}

// gone checks that nothing of a lab is left on the host.
func (w bench) gone(labName string) {
	w.Helper()
	for _, args := range [][]string{{"list", "--all", "--name"}, {"net-list", "--all", "--name"}} {
		for _, name := range strings.Fields(w.d.Virsh(args...)) {
			if len(name) > len(labName) && name[:len(labName)+1] == labName+"-" {
				w.Errorf("left on the host: %s", name)
			}
		}
	}
	files, _ := filepath.Glob("/var/lib/labctl/*/" + prefix(labName) + "*")
	for _, f := range files {
		w.Errorf("left on the host: %s", f)
	}
}

// idle is a lab of machines that do nothing.
func (w bench) idle(n int) lab.Lab { return tiny.Idle(w, w.v.home, n) }

// linux is a lab of one machine that runs Debian's kernel with one small program.
func (w bench) linux() lab.Lab { return tiny.Linux(w, w.v.home) }
