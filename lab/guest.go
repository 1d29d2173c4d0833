package lab

// Origin is where a machine fetches something from.
type Origin struct {
	URL    string `json:"url"`    // http or https
	SHA256 string `json:"sha256"` // of what URL serves, 64 lower-case hex digits
}
