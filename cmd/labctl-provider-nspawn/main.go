// Command labctl-provider-nspawn is the provider of systemd-nspawn containers as a plugin and, called with "room" or
// "box", a lab's networks or one of its machines. It must not do anything of its own.
package main

import (
	"github.com/labctl-dev/labctl/plugins/nspawn"
	"github.com/labctl-dev/labctl/provider/rpc"
)

func main() { nspawn.Main(rpc.Serve) }
