// Command labctl-provider-libvirt is the libvirt provider as a plugin. It must not do anything of its own.
package main

import (
	"github.com/labctl-dev/labctl/plugins/libvirt"
	"github.com/labctl-dev/labctl/provider/rpc"
)

func main() { rpc.Serve(libvirt.Plugin()) }
