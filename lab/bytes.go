package lab

import (
	"fmt"
	"strconv"
	"strings"
)

// Bytes is a size in bytes.
type Bytes uint64

// The binary units (IEC 80000-13).
const (
	KiB Bytes = 1 << 10
	MiB Bytes = 1 << 20
	GiB Bytes = 1 << 30
	TiB Bytes = 1 << 40
)

var units = []struct {
	name string
	size Bytes
}{{"TiB", TiB}, {"GiB", GiB}, {"MiB", MiB}, {"KiB", KiB}, {"B", 1}}

// ParseBytes reads a whole number followed by B, KiB, MiB, GiB or TiB, e.g. "512MiB".
func ParseBytes(s string) (Bytes, error) {
	for _, u := range units {
		digits, ok := strings.CutSuffix(s, u.name)
		if !ok || u.name == "B" && strings.HasSuffix(s, "iB") {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(digits), 10, 64)
		if err != nil || n > uint64(1<<63)/uint64(u.size) {
			break
		}
		return Bytes(n) * u.size, nil
	}
	return 0, fmt.Errorf("%q is no size such as \"512MiB\" or \"10GiB\"", s)
}

// String is the size in the largest unit that keeps it whole.
func (b Bytes) String() string {
	for _, u := range units {
		if b >= u.size && b%u.size == 0 {
			return (b / u.size).in(u.name)
		}
	}
	return b.in("B")
}

// Rough is the size for people who want no more than an idea of it: at least ten and whole in some unit, rounded up.
func (b Bytes) Rough() string {
	for _, u := range units {
		if b >= 10*u.size {
			return ((b-1)/u.size + 1).in(u.name)
		}
	}
	return b.in("B")
}

func (b Bytes) in(unit string) string { return strconv.FormatUint(uint64(b), 10) + unit }
