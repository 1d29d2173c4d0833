package guest_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/labctl-dev/labctl/guest"
)

// printed is a machine that prints the same whatever it is asked.
type printed []byte

func (p printed) Run(context.Context, string, io.Reader) (guest.Output, error) {
	return guest.Output{Stdout: p}, nil
}

func TestUptime(t *testing.T) {
	vector := func(pairs ...uint64) string {
		var b bytes.Buffer
		if err := binary.Write(&b, binary.LittleEndian, pairs); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	stat := "1 (a ) 7\n(b) S" + strings.Repeat(" 0", 18) + " 25000 9 9\n"
	for name, c := range map[string]struct {
		prints string
		want   time.Duration
	}{
		"as Linux has it":   {vector(16, 0x29, 17, 100, 23, 0, 0, 0) + "1000.42 900.10\n" + stat, 750 * time.Second},
		"another kernel":    {vector(17, 1000, 6, 4096, 0, 0) + "1000.42 900.10\n" + stat, 975 * time.Second},
		"no ticks":          {vector(6, 4096, 0, 0) + "1000.42 900.10\n" + stat, 0},
		"no vector":         {"1000.42 900.10\n" + stat, 0},
		"a stat that ended": {vector(17, 100, 0, 0) + "1000.42 900.10\n1 (init) S 0", 0},
		"nothing":           {"", 0},
	} {
		if got, err := guest.Uptime(t.Context(), printed(c.prints)); got != c.want || err != nil {
			t.Errorf("%s: %s, %v; want %s", name, got, err, c.want)
		}
	}
	if got, err := guest.Uptime(t.Context(), here{}); err != nil || got <= 0 {
		t.Errorf("of this host: %s, %v", got, err)
	}
}
