package lab

import (
	"slices"
	"testing"
)

func TestStarts(t *testing.T) {
	two := []NIC{{Network: "lan"}, {Network: "pxe"}}
	for _, c := range []struct {
		boot []Boot
		nics []NIC
		want []string
	}{
		{nil, two, nil},
		{[]Boot{FromDisk}, two, nil},
		{[]Boot{FromNetwork}, two, []string{"network:lan"}},
		{[]Boot{"network:pxe", FromDisk, FromNetwork}, two, []string{"network:pxe", "disk", "network:lan"}},
		{[]Boot{FromDisk, FromNetwork}, nil, []string{"disk", "network:"}},
	} {
		if got := (Machine{Boot: c.boot, NICs: c.nics}).Starts(); !slices.Equal(got, c.want) {
			t.Errorf("%v: %v, want %v", c.boot, got, c.want)
		}
	}
}
