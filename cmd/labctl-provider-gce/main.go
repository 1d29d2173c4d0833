// Command labctl-provider-gce is the provider for Google Compute Engine as a plugin. It must not do anything of its own.
package main

import (
	"github.com/labctl-dev/labctl/plugins/gce"
	"github.com/labctl-dev/labctl/provider/rpc"
)

func main() { rpc.Serve(gce.Plugin()) }
