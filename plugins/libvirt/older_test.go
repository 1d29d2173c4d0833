package libvirt

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestOlder: marks as the first labctl that people had wrote them, and as a later one may write them, are read: the thing is
// the lab's (docs/upgrading.md). These texts stay as they are.
func TestOlder(t *testing.T) {
	for _, c := range []struct {
		metadata string
		want     mark
	}{
		{`<labctl:object xmlns:labctl="https://labctl.dev/libvirt/1" lab="test" target="local" name="db">{&#34;protect&#34;:true,&#34;image&#34;:&#34;sha256:cdcd&#34;,&#34;kernel&#34;:true,&#34;guest&#34;:{&#34;addresses&#34;:{&#34;lan&#34;:&#34;10.0.0.5&#34;},&#34;digest&#34;:&#34;sha256:ab&#34;}}</labctl:object>`,
			mark{Lab: "test", Target: "local", Name: "db", note: note{Protect: true, Image: "sha256:cdcd", Kernel: true,
				Guest: &guestAttrs{Addresses: map[string]string{"lan": "10.0.0.5"}, Digest: "sha256:ab"}}}},
		{`<labctl:object xmlns:labctl="https://labctl.dev/libvirt/1" lab="test" target="local" name="lan">{}</labctl:object>`,
			mark{Lab: "test", Target: "local", Name: "lan"}},
		{`<labctl:object xmlns:labctl="https://labctl.dev/libvirt/1" lab="test" target="local" name="lan" colour="red">{"protect":true,"later":[1]}</labctl:object>`,
			mark{Lab: "test", Target: "local", Name: "lan", note: note{Protect: true}}},
	} {
		got, ok := readMark(c.metadata)
		if d := cmp.Diff(c.want, got, cmp.AllowUnexported(mark{})); d != "" || !ok {
			t.Errorf("%s: ours: %v (-want +got)\n%s", c.metadata, ok, d)
		}
	}
}
