package memory_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/memory"
	"github.com/labctl-dev/labctl/provider/providertest"
	"github.com/labctl-dev/labctl/provider/rpc"
)

// TestMain makes this test binary the plugin as well.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "labctl-provider-memory" {
		rpc.Serve(memory.Plugin())
		return
	}
	if dir := os.Getenv("MEMORY_TEST_HOST"); dir != "" {
		os.Exit(host(dir))
	}
	os.Exit(m.Run())
}

func judge(p provider.Plugin) providertest.Options {
	fixed := map[string]string{}
	for _, kind := range []string{"network", "disk", "machine", "guest"} {
		fixed[kind+".lab"] = "the owner's name: another lab's objects are other objects"
	}
	return providertest.Options{
		Plugin: p,
		Fixed:  fixed,
		Options: func(t *testing.T) provider.Options {
			return provider.Options{Home: t.TempDir(), Target: "test", Values: map[string]any{"host": map[string]any{
				"cpus": 4, "memory": float64(16 * lab.GiB), "disk": float64(lab.TiB),
			}}}
		},
		Foreign: func(t *testing.T, o provider.Options) {
			dir := filepath.Join(o.Home, "host", o.Target)
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			const text = `{
"memory.network/default": {"addr":{"provider":"memory","kind":"network","name":"default"},"attrs":{"cidr":"192.168.122.0/24"}},
"memory.machine/db": {"addr":{"provider":"memory","kind":"machine","name":"db"},"attrs":{"cpus":1,"memory":1073741824,"power":"on",
	"nics":[{"network":"default","mac":"52:54:00:00:00:01","link":"up"},{"network":"else","mac":"52:54:00:00:00:02","link":"up"}]}}
}`
			if err := os.WriteFile(filepath.Join(dir, "world.json"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		Edits: []providertest.Edit{
			{Name: "a pool", Change: func(l *lab.Lab) {
				l.Pools = []lab.Pool{{Name: "disks", Path: "/srv/disks"}}
				l.Machines[0].Disks[0].Pool = "disks"
			}},
			{Name: "another architecture", Change: func(l *lab.Lab) { l.Machines[0].Arch = lab.ARM64 }},
		},
		BootID: func(t *testing.T, p provider.Provider, l lab.Lab, machine string) string {
			os, err := p.Observe(t.Context(), l)
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range os {
				if o.Addr.Kind == "machine" && o.Machine == machine {
					return o.Outputs["boots"]
				}
			}
			t.Fatalf("no machine %s", machine)
			return ""
		},
	}
}

func TestContract(t *testing.T) {
	t.Run("here", func(t *testing.T) { providertest.Test(t, judge(memory.Plugin())) })
	t.Run("plugin", func(t *testing.T) { providertest.Test(t, judge(launch(t).Plugin())) })
}

func launch(t testing.TB) *rpc.Client {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(self, filepath.Join(dir, "labctl-provider-memory")); err != nil {
		t.Fatal(err)
	}
	c, err := rpc.Launch(t.Context(), rpc.Launcher{Name: "memory", Dirs: []string{dir}, Timeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}
