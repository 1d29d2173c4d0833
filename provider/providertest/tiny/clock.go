package tiny

import (
	"crypto/sha256"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/labctl-dev/labctl/lab"
)

// Clock is a lab as Idle's of one machine that says on its console when it has booted, and from then on a dot about
// twice a second. It starts by its own firmware, and knows nothing of disks or buses.
func Clock(t testing.TB, home string) lab.Lab {
	t.Helper()
	b := make([]byte, 1<<20)
	copy(b, []byte{
		0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xd0, 0xbc, 0x00, 0x7c, 0xfb, // xor ax, ax; mov ds, ax; mov ss, ax; mov sp, 0x7c00; sti
		0xba, 0xf8, 0x03, 0xbe, 0x47, 0x7c, 0xb9, 0x06, 0x00, 0xfc, // mov dx, 0x3f8; mov si, text; mov cx, 6; cld
		0xac, 0xee, 0xe2, 0xfc, // again: lodsb; out dx, al; loop again
		0x0f, 0x31, 0x66, 0x89, 0xc3, 0xba, 0xf8, 0x03, 0xb9, 0x08, 0x00, // rdtsc; mov ebx, eax; mov dx, 0x3f8; mov cx, 8
		0x66, 0xc1, 0xc3, 0x04, 0x88, 0xd8, 0x24, 0x0f, 0x04, 0x61, 0xee, 0xe2, 0xf3, // digit: rol ebx, 4; mov al, bl; and al, 15; add al, 'a'; out dx, al; loop digit
		0xb0, 0x0a, 0xee, 0x30, 0xdb, // mov al, '\n'; out dx, al; xor bl, bl
		0xf4, 0xfe, 0xc3, 0x80, 0xfb, 0x09, 0x75, 0xf8, // tick: hlt; inc bl; cmp bl, 9; jne tick
		0x30, 0xdb, 0xb0, 0x2e, 0xba, 0xf8, 0x03, 0xee, 0xeb, 0xee, // xor bl, bl; mov al, '.'; mov dx, 0x3f8; out dx, al; jmp tick
	})
	copy(b[0x47:], "\nBOOT ") // text
	b[510], b[511] = 0x55, 0xaa
	img := lab.Image{Name: "clock", Arch: lab.AMD64, URL: "file:///clock.img", Digest: fmt.Sprintf("sha256:%x", sha256.Sum256(b)), MinDisk: lab.MiB}
	Stock(t, home, img, b, nil)
	l := Idle(t, home, 1)
	l.Images, l.Machines[0].Image = []lab.Image{img}, img.Name
	return l
}

var clockBoot = regexp.MustCompile(`BOOT (\S+)\r?\n`)

// Boots waits until Clock's machine has ticked once more, and returns the identities of all boots that the file console
// tells of: each is another one.
func Boots(t testing.TB, console string) []string {
	t.Helper()
	before, _ := os.ReadFile(console)
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		b, _ := os.ReadFile(console)
		if len(b) < len(before) { // started anew meanwhile
			before = nil
		}
		var ids []string
		from := len(before)
		for _, m := range clockBoot.FindAllSubmatchIndex(b, -1) {
			ids, from = append(ids, string(b[m[2]:m[3]])), max(from, m[1])
		}
		if ids != nil && strings.Contains(string(b[from:]), ".") {
			return ids
		}
	}
	b, _ := os.ReadFile(console)
	t.Fatalf("the machine does not tick; its console: %.300q", b)
	return nil
}
