package gpt_test

import (
	"cmp"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/image/gpt"
)

func TestRead(t *testing.T) {
	want := slices.Clone(parts)
	want[1].Flags = 4
	want[0].Name = "größte"
	head, _, err := gpt.Table(size, gpt.UUID{1, 2, 3, 4, 5, 6, 7, 8, 15: 9}, want)
	if err != nil {
		t.Fatal(err)
	}
	disk, got, err := gpt.Read(head)
	if err != nil || disk != (gpt.UUID{1, 2, 3, 4, 5, 6, 7, 8, 15: 9}) {
		t.Fatalf("disk %s, error %v", disk, err)
	}
	slices.SortFunc(want, func(a, b gpt.Partition) int { return cmp.Compare(a.Number, b.Number) })
	if d := gocmp.Diff(want, got); d != "" {
		t.Errorf("(-written +read)\n%s", d)
	}
}

func TestReadRefuses(t *testing.T) {
	good, _, err := gpt.Table(size, gpt.UUID{15: 9}, parts)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		edit func(b []byte) []byte
		want string
	}{
		"short":         {func(b []byte) []byte { return b[:1024] }, "too few"},
		"nothing":       {func(b []byte) []byte { return make([]byte, len(b)) }, "no GUID partition table"},
		"header":        {func(b []byte) []byte { b[512+60]++; return b }, "checksum"},
		"an entry":      {func(b []byte) []byte { b[1024+40]++; return b }, "checksum"},
		"other entries": {func(b []byte) []byte { b[512+80] = 4; return b }, "4 entries"},
	} {
		if _, _, err := gpt.Read(c.edit(slices.Clone(good))); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
