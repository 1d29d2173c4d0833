package image

import "github.com/labctl-dev/labctl/image/fetch"

func parseDigest(s string) (fetch.Digest, error) { return fetch.ParseDigest(s) }
