package rpc

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log/slog"
	"strings"
	"sync"
)

// remembered is how many of the last lines of a plugin's log are kept, longest how many bytes of each.
const (
	remembered = 20
	longest    = 2 << 10
)

// tail keeps the last lines of a plugin's log, and passes all on.
type tail struct {
	name string
	log  *slog.Logger

	mu    sync.Mutex
	lines []string
}

func (t *tail) add(line string) {
	line = strings.TrimRight(line, "\r\n")
	if len(line) > longest {
		line = line[:longest] + "..."
	}
	t.mu.Lock()
	t.lines = append(t.lines, line)
	if len(t.lines) > remembered {
		t.lines = t.lines[1:]
	}
	t.mu.Unlock()
	if t.log != nil {
		t.log.Log(context.Background(), slog.LevelDebug, line, "plugin", t.name)
	}
}

// pump adds the lines of r until it ends.
func (t *tail) pump(r io.Reader) {
	b := bufio.NewReaderSize(r, 2*longest)
	for {
		line, more, err := b.ReadLine()
		if err != nil {
			return
		}
		t.add(string(line))
		for more && err == nil {
			_, more, err = b.ReadLine() // the rest of a line that is too long
		}
	}
}

// String is the end of an error's text.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.lines) == 0 {
		return "; its log is empty"
	}
	return "; the end of its log:\n  " + strings.Join(t.lines, "\n  ")
}

// lines is a Writer that adds whole lines to a tail.
type lines struct {
	to   *tail
	part []byte
}

func (l *lines) Write(b []byte) (int, error) {
	l.part = append(l.part, b...)
	for {
		i := bytes.IndexByte(l.part, '\n')
		if i < 0 && len(l.part) < longest {
			return len(b), nil
		}
		if i < 0 {
			i = len(l.part) - 1
		}
		l.to.add(string(l.part[:i+1]))
		l.part = l.part[i+1:]
	}
}

// output is a process's stdout; it remembers how it began and notices when it ended.
type output struct {
	from io.ReadCloser
	end  chan struct{} // closed at the end

	mu    sync.Mutex
	begin []byte
	ended bool
}

func (o *output) Read(b []byte) (int, error) {
	n, err := o.from.Read(b)
	o.mu.Lock()
	defer o.mu.Unlock()
	if room := longest - len(o.begin); room > 0 {
		o.begin = append(o.begin, b[:min(n, room)]...)
	}
	if err != nil && !o.ended {
		o.ended = true
		close(o.end)
	}
	return n, err
}

// Close implements io.Closer; the process closes its pipes itself.
func (o *output) Close() error { return nil }

// line is the first line, or what there is of it.
func (o *output) line() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	first, _, _ := bytes.Cut(o.begin, []byte("\n"))
	return strings.TrimSpace(string(first))
}
