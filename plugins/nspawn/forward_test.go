package nspawn

import (
	"context"
	"net"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/site"
)

// TestForwardMoves has a port of the host lead into another network than before, whichever of the two is told first.
func TestForwardMoves(t *testing.T) {
	need(t)
	l, _ := judged()
	l.Machines = nil
	l.Networks = []lab.Network{
		{Name: "one", CIDR: netip.MustParsePrefix("10.21.0.0/24"), MTU: 1500},
		{Name: "two", CIDR: netip.MustParsePrefix("10.22.0.0/24"), MTU: 1500},
	}
	p, err := Plugin().New(provider.Options{Home: t.TempDir(), Target: "test"})
	if err != nil {
		t.Fatal(err)
	}
	forward := site.Forward{Listen: free(t), To: netip.MustParseAddrPort("10.21.0.10:80"), Machine: "web"}
	quiet := func(provider.Step) {}
	t.Cleanup(func() {
		for _, o := range seen(t, p, l) {
			if err := p.Delete(context.WithoutCancel(t.Context()), o, quiet); err != nil {
				t.Error(err)
			}
		}
	})
	// put makes a network one into which the port leads, or does not.
	put := func(name string, leads bool) {
		t.Helper()
		r := provider.Resource{Lab: l.Name, Addr: addr(kindNetwork, name)}
		want, err := p.Expand(l, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range want {
			if w.Addr == r.Addr {
				r.Attrs = w.Attrs
			}
		}
		var a networkAttrs
		if err := decode(r.Addr, r.Attrs, &a); err != nil {
			t.Fatal(err)
		}
		if a.Forward = nil; leads {
			a.Forward = []site.Forward{forward}
		}
		if r.Attrs, err = provider.Encode(a); err != nil {
			t.Fatal(err)
		}
		have, ok := seen(t, p, l)[name]
		if ok {
			err = p.Update(t.Context(), have, r, quiet)
		} else {
			err = p.Create(t.Context(), r, quiet)
		}
		if err != nil {
			t.Fatalf("network %s: %v", name, err)
		}
	}
	// into says which networks the port leads into.
	into := func() (names []string) {
		for _, name := range []string{"one", "two"} {
			var a networkAttrs
			if err := decode(addr(kindNetwork, name), seen(t, p, l)[name].Attrs, &a); err != nil {
				t.Fatal(err)
			}
			if len(a.Forward) > 0 {
				names = append(names, name)
			}
		}
		return names
	}
	put("one", true)
	put("two", false)
	for _, order := range [][]string{{"two", "one"}, {"one", "two"}} { // the one that takes it is told first, then last
		for _, to := range order {
			for _, name := range order {
				put(name, name == to)
			}
			if d := cmp.Diff([]string{to}, into()); d != "" {
				t.Errorf("told in the order %v (-want +got):\n%s", order, d)
			}
			c, err := net.Dial("tcp", forward.Listen.String())
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
		}
	}
}

// seen are a lab's networks by name.
func seen(t *testing.T, p provider.Provider, l lab.Lab) map[string]provider.Observed {
	t.Helper()
	all, err := p.Observe(context.WithoutCancel(t.Context()), l)
	if err != nil {
		t.Fatal(err)
	}
	by := map[string]provider.Observed{}
	for _, o := range all {
		if o.Addr.Kind == kindNetwork {
			by[o.Addr.Name] = o
		}
	}
	return by
}

// free is a port of this host that nobody has.
func free(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort()
}
