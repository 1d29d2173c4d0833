module example.org/labctl-provider-shell

go 1.26.0

// The contract, its carrier and its judge: packages lab, provider, provider/rpc and provider/providertest.
require github.com/labctl-dev/labctl v0.1.0
