package gce

import "github.com/labctl-dev/labctl/lab"

// The attributes of each kind in normal form.
type (
	networkAttrs struct {
		MTU int `json:"mtu"`
	}
	subnetAttrs struct {
		Network string `json:"network"`
		Address string `json:"address"` // the first
		Prefix  int    `json:"prefix"`  // its length: a smaller one is a larger subnet
	}
	firewallAttrs struct {
		Network  string   `json:"network"`
		From     []string `json:"from"`         // prefixes
		To       []string `json:"to,omitempty"` // prefixes; none is everything on the network
		Allow    []string `json:"allow"`        // "tcp/22", "udp/53", "icmp", "all"; sorted
		Log      bool     `json:"log,omitempty"`
		Priority int      `json:"priority"`
		Disabled bool     `json:"disabled,omitempty"` // by somebody else: labctl makes none such
	}
	natAttrs struct {
		Network string `json:"network"`
		NAT     string `json:"nat,omitempty"` // "all": of every machine on the network
	}
	zoneAttrs struct {
		Networks   []string `json:"networks"`   // that see it, sorted
		Visibility string   `json:"visibility"` // "private": labctl makes no other
	}
	recordAttrs struct {
		Zone string   `json:"zone"`
		Data []string `json:"data"` // sorted
		TTL  int      `json:"ttl"`  // seconds
	}
	addressAttrs struct {
		Tier string `json:"tier"`
	}
	diskAttrs struct {
		Image   string    `json:"image,omitempty"` // empty for a blank disk
		Type    string    `json:"type"`
		Size    lab.Bytes `json:"size"` // whole GiB, at least minDisk
		Protect bool      `json:"protect,omitempty"`
	}
	machineAttrs struct {
		Type     string            `json:"type"`
		Forwards bool              `json:"forwards,omitempty"`
		NICs     []nic             `json:"nics"`               // in the guest's order: nic0 first
		External string            `json:"external,omitempty"` // name of the address that nic0 has outside
		Disks    []string          `json:"disks"`              // the root disk, then the others sorted
		GPUs     string            `json:"gpus,omitempty"`     // "nvidia-tesla-t4 x 1"
		Nested   bool              `json:"nested,omitempty"`
		Metadata map[string]string `json:"metadata"` // what of it is labctl's and no seed
		Power    string            `json:"power"`
		Protect  bool              `json:"protect,omitempty"`
		TTL      string            `json:"ttl,omitempty"` // how long it may run, "8h0m0s"
	}
	nic struct {
		Network string `json:"network"`
		Address string `json:"address"`
	}
	routeAttrs struct {
		Network  string `json:"network"`
		To       string `json:"to"`
		Via      string `json:"via"` // a machine
		Priority int    `json:"priority"`
	}
	guestAttrs struct {
		Addresses map[string]string `json:"addresses,omitempty"` // by network
		Digest    string            `json:"digest"`
	}
)
