// Command labctl-provider-memory is the memory provider as a plugin. It must not do anything of its own.
package main

import (
	"github.com/labctl-dev/labctl/provider/memory"
	"github.com/labctl-dev/labctl/provider/rpc"
)

func main() { rpc.Serve(memory.Plugin()) }
