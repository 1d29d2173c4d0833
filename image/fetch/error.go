package fetch

// Error is why a download failed.
type Error struct {
	Reason Reason
	Text   string // says which URL or file, and what was expected and what came
	Err    error  // the cause where there is one
}

// Reason is the class of an Error.
type Reason string

// The reasons. After Unreachable, Stalled and Truncated a next Get goes on where this one stopped.
const (
	Invalid     Reason = "invalid"     // no http, https or file URL
	Unreachable Reason = "unreachable" // the host cannot be found or does not answer
	Refused     Reason = "refused"     // the host answers, with an error; a file that cannot be read
	Stalled     Reason = "stalled"     // bytes stopped coming
	Truncated   Reason = "truncated"   // fewer bytes came than were announced
	Mismatch    Reason = "digest"      // what came has another digest
	Full        Reason = "full"        // no space left for it
	Denied      Reason = "denied"      // the folder for it cannot be written
	Canceled    Reason = "canceled"    // the caller gave up
)

func (e *Error) Error() string { return e.Text }

func (e *Error) Unwrap() error { return e.Err }
