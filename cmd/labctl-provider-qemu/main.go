// Command labctl-provider-qemu is the QEMU provider as a plugin and, called with "netd", a lab's network process. It
// must not do anything of its own.
package main

import (
	"github.com/labctl-dev/labctl/plugins/qemu"
	"github.com/labctl-dev/labctl/provider/rpc"
)

func main() { qemu.Main(rpc.Serve) }
