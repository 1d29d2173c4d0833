package gcetest

// zone is a managed zone of Cloud DNS.
type zone struct{}

func (w *world) dns(call) (any, *apiError) { return nil, unimplemented() }
