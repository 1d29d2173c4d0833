package libvirt

import (
	"strings"
	"time"

	"github.com/labctl-dev/labctl/lab"
)

// console is what a machine's console has printed since it was last started.
func (w bench) console(l lab.Lab, machine string) string {
	w.Helper()
	text, err := w.v.log(w.Context(), l.Name, machine)
	if err != nil {
		w.Fatal(err)
	}
	return string(text)
}

// sees waits until a machine's console has said words after the first so many bytes.
func (w bench) sees(l lab.Lab, machine string, after int, words string) {
	w.Helper()
	text := ""
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if text = w.console(l, machine); len(text) >= after && strings.Contains(text[after:], words) {
			return
		}
	}
	w.Fatalf("machine %s never said %q; its console: %s", machine, words, text[max(0, len(text)-1000):])
}
