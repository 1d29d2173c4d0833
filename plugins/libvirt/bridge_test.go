package libvirt

import (
	"strings"
	"testing"
)

// TestBridge has an uplink that is a bridge of the host.
func TestBridge(t *testing.T) {
	onHost(t, func(w bench) {
		for _, line := range []string{"link add br0 type bridge", "link set br0 up"} {
			if out, err := w.d.Command(t.Context(), "ip", strings.Fields(line)...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}
		w = newBench(t, w.d, map[string]any{"bridges": map[string]any{"lan": "br0"}})
		l := w.idle(1)
		w.apply(l)
		w.settled(l)
		out, err := w.d.Command(t.Context(), "bridge", "link").Output()
		if err != nil || !strings.Contains(string(out), "master br0") {
			t.Errorf("no NIC is on the bridge: %v\n%s", err, out)
		}
		w.clear(l)
		if out, err := w.d.Command(t.Context(), "ip", "link", "show", "br0").CombinedOutput(); err != nil {
			t.Errorf("the host's bridge is gone: %s", out)
		}
	})
}

// TestDoctor examines a host that works, and one that is not there.
func TestDoctor(t *testing.T) {
	onHost(t, func(w bench) {
		for _, c := range []struct{ uri, want string }{
			{w.d.URI, "ok libvirt, ok accelerator, ok nested, ok firmware, warning IOMMU, ok pools, ok dnsmasq, ok firewall, ok forwarding"},
			{"qemu:///system?socket=/nowhere", "broken libvirt"},
		} {
			w := newBench(t, w.d, map[string]any{"uri": c.uri})
			ds, err := w.v.Doctor(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, d := range ds {
				if d.Name != "bridge filter" { // depends on the kernel's modules
					got = append(got, string(d.Status)+" "+d.Name)
				}
				if d.Detail == "" || d.Status != "ok" && d.Fix == "" {
					t.Errorf("no detail, or no fix: %+v", d)
				}
			}
			if s := strings.Join(got, ", "); s != c.want {
				t.Errorf("%s: %s, want %s: %+v", c.uri, s, c.want, ds)
			}
		}
	})
}
