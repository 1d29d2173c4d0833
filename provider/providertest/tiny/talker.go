package tiny

import (
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/labctl-dev/labctl/lab"
)

// Said is what Talker's machines say on their console.
const Said = "from disk"

// Talker is the image of a boot sector that says Said on the serial port and halts: whoever reads it knows that a BIOS
// has come to the disk. It is put into the store of home.
func Talker(t testing.TB, home string) lab.Image {
	t.Helper()
	b := make([]byte, 1<<20)
	copy(b, []byte{
		0xfa, 0x31, 0xc0, 0x8e, 0xd8, // cli; xor ax,ax; mov ds,ax
		0xba, 0xf8, 0x03, 0xbe, 0x17, 0x7c, 0xfc, // mov dx,0x3f8; mov si,text; cld
		0xac, 0x84, 0xc0, 0x74, 0x03, 0xee, 0xeb, 0xf8, // lodsb; test al,al; jz +3; out dx,al; jmp back
		0xf4, 0xeb, 0xfd, // hlt; jmp back
	})
	copy(b[0x17:], Said+"\r\n\x00")
	b[510], b[511] = 0x55, 0xaa
	i := lab.Image{Name: "talker", Arch: lab.AMD64, URL: "file:///talker.img", Digest: fmt.Sprintf("sha256:%x", sha256.Sum256(b)), MinDisk: lab.MiB}
	Stock(t, home, i, b, nil)
	return i
}
