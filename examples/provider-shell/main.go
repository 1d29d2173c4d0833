// Command labctl-provider-shell is a provider for labctl whose machines are shells: each server and router is a folder and a
// process in it, in a session of its own, with a limit on its memory. It is an example for authors of providers: a module of
// its own that needs nothing of labctl but the contract (docs/write-a-provider.md walks through it).
//
// It must not pretend: what a shell cannot be is refused (expand.go); images, disks and networks mean nothing to it.
package main

import (
	"path/filepath"
	"sync"

	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/rpc"
)

func main() { rpc.Serve(plugin()) }

// The kinds, in creation order.
const (
	folder = "folder"
	shell  = "shell"
)

// plugin is all that can be known beforehand, and how to get a provider for one target.
func plugin() provider.Plugin {
	return provider.Plugin{New: open, Description: provider.Description{
		Name:    "shell",
		Version: "1",
		// CUE: what a target may say beside "provider". labctl checks it before New is called.
		Options: "close({\n\t// what each machine runs, by sh -c in its folder\n\trun?: string\n})",
		Kinds: []provider.Kind{
			{Name: folder, Data: true, Attrs: map[string]provider.Attr{
				"addresses": {Impact: provider.Live, Place: true}, // in the file "addresses", for whom it concerns
			}},
			{Name: shell, Machine: true, RemadeWith: []string{folder}, Attrs: map[string]provider.Attr{
				"memory": {Impact: provider.Reboot}, // bytes of address space; a process keeps the limit it began with
				"power":  {Impact: provider.Reboot}, // "on", "off"
				"run":    {Impact: provider.Reboot},
			}},
		},
	}}
}

// host is the provider of one target: this host, and the folder of what belongs to the target.
type host struct {
	target string
	home   string
	run    string
	mu     sync.Mutex // one change at a time: the engine asks in parallel
}

// open checks nothing more: the options were checked against Description.Options.
func open(o provider.Options) (provider.Provider, error) {
	h := &host{target: o.Target, home: o.Home, run: "while :; do sleep 3600; done"}
	if run, ok := o.Values["run"].(string); ok {
		h.run = run
	}
	return h, nil
}

// dir is a machine's folder; without a machine that of the lab on this target, which is where labctl wants everything.
func (h *host) dir(lab, machine string) string {
	return filepath.Join(h.home, "labs", lab, "targets", h.target, machine)
}
