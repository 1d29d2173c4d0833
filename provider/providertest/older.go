package providertest

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// Older checks that what an older labctl left in a provider's folder is read. kept is a folder of it, which is copied to home
// before: observing may tidy up. In it is lab shop on target local with the machine web, of which all things are; want has
// their attributes by address. prepare, unless nil, adds to home what cannot be kept.
func Older(t *testing.T, plugin provider.Plugin, kept, home string, prepare func(), want map[string]provider.Attrs) {
	t.Helper()
	if err := os.CopyFS(home, os.DirFS(kept)); err != nil {
		t.Fatal(err)
	}
	if prepare != nil {
		prepare()
	}
	p, err := plugin.New(provider.Options{Home: home, Target: "local"})
	if err != nil {
		t.Fatal(err)
	}
	found, err := p.Observe(t.Context(), lab.Lab{Name: "shop", Target: "local"})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]provider.Attrs{}
	for _, o := range found {
		if o.Lab != "shop" || o.Machine != "web" {
			t.Errorf("%s is not of machine web of lab shop: %q, %q", o.Addr, o.Lab, o.Machine)
		}
		got[o.Addr.String()] = o.Attrs
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}
