package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/providertest"
	"github.com/labctl-dev/labctl/provider/rpc"
)

// TestMain makes this test binary the plugin as well: called by the plugin's name it serves.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "labctl-provider-shell" {
		main()
		return
	}
	os.Exit(m.Run())
}

// TestContract is the judge of all providers, here and behind the wire.
func TestContract(t *testing.T) {
	t.Run("here", func(t *testing.T) { providertest.Test(t, judge(plugin())) })
	t.Run("plugin", func(t *testing.T) { providertest.Test(t, judge(launch(t).Plugin())) })
}

func judge(p provider.Plugin) providertest.Options {
	return providertest.Options{
		Plugin: p,
		Fixed:  map[string]string{"shell.run": "it is the target's option, which no change of a lab reaches"},
		BootID: func(t *testing.T, p provider.Provider, l lab.Lab, machine string) string {
			all, err := p.Observe(t.Context(), l)
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range all {
				if o.Addr.Kind == shell && o.Machine == machine {
					return o.Outputs["pid"]
				}
			}
			t.Fatalf("no machine %s", machine)
			return ""
		},
	}
}

func launch(t *testing.T) *rpc.Client {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(self, filepath.Join(dir, "labctl-provider-shell")); err != nil {
		t.Fatal(err)
	}
	c, err := rpc.Launch(t.Context(), rpc.Launcher{Name: "shell", Dirs: []string{dir}, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}
