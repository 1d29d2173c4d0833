package lab

import (
	"encoding/json"
	"testing"
	"time"
)

func TestParseBytes(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Bytes
		bad  bool
	}{
		{in: "0B"}, {in: "1B", want: 1}, {in: "512MiB", want: 512 * MiB}, {in: "10 GiB", want: 10 * GiB}, {in: "1TiB", want: TiB}, {in: "1024KiB", want: MiB},
		{in: "8388608TiB", want: 1 << 63}, {in: "8388609TiB", bad: true}, {in: "99999999999999999999B", bad: true},
		{in: "", bad: true}, {in: "B", bad: true}, {in: "512", bad: true}, {in: "512MB", bad: true}, {in: "512M", bad: true}, {in: "-1MiB", bad: true}, {in: "+1MiB", bad: true},
		{in: "1.5GiB", bad: true}, {in: "0x10MiB", bad: true}, {in: "1iB", bad: true}, {in: "MiB", bad: true}, {in: "1 MiB B", bad: true}, {in: "1_000MiB", bad: true},
	} {
		got, err := ParseBytes(c.in)
		if (err != nil) != c.bad || got != c.want {
			t.Errorf("%q: %d, %v; want %d, bad %v", c.in, got, err, c.want, c.bad)
		}
	}
}

func TestBytesString(t *testing.T) {
	for b, want := range map[Bytes]string{0: "0B", 1: "1B", 1023: "1023B", KiB: "1KiB", 1536: "1536B", 1536 * KiB: "1536KiB", 500 * MiB: "500MiB", TiB: "1TiB", 1 << 63: "8388608TiB"} {
		if got := b.String(); got != want {
			t.Errorf("%d: %s, want %s", uint64(b), got, want)
		}
	}
}

func TestBytesRough(t *testing.T) {
	for b, want := range map[Bytes]string{0: "0B", 9: "9B", 10*KiB - 1: "10239B", 10 * KiB: "10KiB", 10*KiB + 1: "11KiB", 196624*KiB + 1: "193MiB", 3 * GiB: "3072MiB", 1<<64 - 1: "16777216TiB"} {
		if got := b.Rough(); got != want {
			t.Errorf("%d: %s, want %s", uint64(b), got, want)
		}
	}
}

// FuzzBytes: what is printed can be read, and what can be read is printed as the same size.
func FuzzBytes(f *testing.F) {
	for _, s := range []string{"512MiB", "10 GiB", "1B", "8388608TiB", "1iB", "\tKiB", "18446744073709551615B"} {
		f.Add(s, uint64(len(s)))
	}
	f.Fuzz(func(t *testing.T, s string, n uint64) {
		if b, err := ParseBytes(s); err == nil {
			if again, err := ParseBytes(b.String()); err != nil || again != b {
				t.Errorf("%q is %d, printed %q, read as %d, %v", s, b, b, again, err)
			}
		}
		if b := Bytes(n); b <= 1<<63 {
			if again, err := ParseBytes(b.String()); err != nil || again != b {
				t.Errorf("%d is printed %q, read as %d, %v", n, b, again, err)
			}
		}
	})
}

func TestDurationJSON(t *testing.T) {
	type doc struct {
		Ready Duration `json:"ready"`
	}
	for in, want := range map[string]string{`"90s"`: `"1m30s"`, `"20m"`: `"20m0s"`, `"0s"`: `"0s"`, `"1h2m3.5s"`: `"1h2m3.5s"`} {
		var d doc
		if err := json.Unmarshal([]byte(`{"ready":`+in+`}`), &d); err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if b, err := json.Marshal(d); err != nil || string(b) != `{"ready":`+want+`}` {
			t.Errorf("%s became %s, %v", in, b, err)
		}
	}
	for _, in := range []string{`"90"`, `""`, `"soon"`, `90`, `"1 h"`} {
		var d doc
		if err := json.Unmarshal([]byte(`{"ready":`+in+`}`), &d); err == nil {
			t.Errorf("%s became %s", in, time.Duration(d.Ready))
		}
	}
}

// TestLabJSON: a lab crosses the wire and stays the same text.
func TestLabJSON(t *testing.T) {
	l := labOn(dhcp("10.0.0.0/24", "10.0.0.100", "10.0.0.200"), "web")
	l.Networks = append(l.Networks, Network{Name: "up", Uplink: true, MTU: 1500})
	l.Machines[0].NICs = append(l.Machines[0].NICs, NIC{Network: "up"})
	l.Targets = []Target{{Name: "local", Provider: "qemu", Options: json.RawMessage(`{"a":[1]}`)}}
	a, err := json.Marshal(Complete(l))
	if err != nil {
		t.Fatal(err)
	}
	var back Lab
	if err := json.Unmarshal(a, &back); err != nil {
		t.Fatal(err)
	}
	if b, err := json.Marshal(back); err != nil || string(b) != string(a) {
		t.Errorf("%s\nbecame\n%s, %v", a, b, err)
	}
}
