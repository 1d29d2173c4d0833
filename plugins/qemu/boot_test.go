package qemu

import (
	"crypto/sha256"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/providertest/tiny"
)

// talker is a boot sector that says "from disk" on the serial port and halts.
func talker(t *testing.T, home string) lab.Image {
	t.Helper()
	b := make([]byte, 1<<20)
	copy(b, []byte{
		0xfa, 0x31, 0xc0, 0x8e, 0xd8, // cli; xor ax,ax; mov ds,ax
		0xba, 0xf8, 0x03, 0xbe, 0x17, 0x7c, 0xfc, // mov dx,0x3f8; mov si,text; cld
		0xac, 0x84, 0xc0, 0x74, 0x03, 0xee, 0xeb, 0xf8, // lodsb; test al,al; jz +3; out dx,al; jmp back
		0xf4, 0xeb, 0xfd, // hlt; jmp back
	})
	copy(b[0x17:], "from disk\r\n\x00")
	b[510], b[511] = 0x55, 0xaa
	i := lab.Image{Name: "talker", Arch: lab.AMD64, URL: "file:///talker.img", Digest: fmt.Sprintf("sha256:%x", sha256.Sum256(b)), MinDisk: lab.MiB}
	tiny.Stock(t, home, i, b, nil)
	return i
}

// TestBootOrder has a machine ask the network first, where nobody answers: it comes to its disk. What is observed is
// what QEMU says.
func TestBootOrder(t *testing.T) {
	w := newWorld(t, nil)
	l := tiny.Idle(t, w.q.home, 1)
	m := &l.Machines[0]
	l.Images, m.Image = []lab.Image{talker(t, w.q.home)}, "talker"
	says := func(n int) {
		t.Helper()
		var b []byte
		for deadline := time.Now().Add(5 * time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
			if b, _ = os.ReadFile(w.q.dirs(l.Name).console("m0")); strings.Count(string(b), "from disk") >= n {
				return
			}
		}
		t.Fatalf("the machine never came to its disk; its console: %q", b)
	}
	for _, boot := range [][]lab.Boot{{"network:office", "disk"}, {"disk", "network"}, {"network:office", "network:lan", "disk"}, nil} {
		m.Boot, m.Nested = boot, len(boot) == 2
		if did := w.apply(l); len(did) == 0 {
			t.Errorf("%v: nothing was done", boot)
		}
		says(1)
		w.settled(l)
	}
	// Another hand changes the order of the machine that runs.
	c, err := w.q.monitor(t.Context(), w.q.dirs(l.Name), "m0", w.q.dirs(l.Name).qmp("m0"))
	if err != nil || c == nil {
		t.Fatal(err)
	}
	for id, index := range map[string]int{"root.root": 1, "nic.office": 0} {
		if err := c.Execute(t.Context(), "qom-set", map[string]any{"path": "/machine/peripheral/" + id, "property": "bootindex", "value": index}, nil); err != nil {
			t.Fatal(err)
		}
	}
	c.Close()
	if got := fmt.Sprint(w.observe(l)["qemu.machine/m0"].Attrs["boot"]); got != "[network:office disk]" {
		t.Errorf("the machine starts from %s", got)
	}
	w.apply(l)
	w.settled(l)
}

// TestCanNest asks of hosts that cannot.
func TestCanNest(t *testing.T) {
	if err := canNest(host{Accel: accelTCG}); err != nil {
		t.Error(err)
	}
	if err := canNest(host{Accel: accelHVF}); provider.CodeOf(err) != provider.Unsupported || !strings.Contains(err.Error(), "nested: macOS") {
		t.Error(err)
	}
}
