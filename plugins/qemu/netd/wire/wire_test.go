package wire

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// frames reads src to its end.
func frames(src io.Reader) ([][]byte, error) {
	r := NewReader(src)
	var all [][]byte
	for {
		run, err := r.Next()
		if err != nil {
			return all, err
		}
		for len(run) > 0 {
			var f []byte
			f, run = Cut(run)
			all = append(all, bytes.Clone(f))
		}
	}
}

func TestReader(t *testing.T) {
	big := bytes.Repeat([]byte{7}, MaxFrame)
	var many []byte
	var want [][]byte
	for i := range 1000 {
		f := bytes.Repeat([]byte{byte(i)}, 1+i%1500)
		many, want = Append(many, f), append(want, f)
	}
	tests := []struct {
		name   string
		in     []byte
		want   [][]byte
		length uint32 // of the LengthError
		err    error
	}{
		{name: "empty", err: io.EOF},
		{name: "one", in: Append(nil, []byte("x")), want: [][]byte{[]byte("x")}, err: io.EOF},
		{name: "largest twice", in: Append(Append(nil, big), big), want: [][]byte{big, big}, err: io.EOF},
		{name: "many", in: many, want: want, err: io.EOF},
		{name: "cut in the frame", in: Append(nil, []byte("xyz"))[:6], err: io.ErrUnexpectedEOF},
		{name: "cut in the header", in: []byte{0, 0}, err: io.ErrUnexpectedEOF},
		{name: "zero length", in: append(Append(nil, []byte("x")), 0, 0, 0, 0, 1), want: [][]byte{[]byte("x")}, length: 0},
		{name: "text", in: []byte("GET / HTTP/1.0\r\n"), length: 0x47455420},
		{name: "one too long", in: []byte{0, 1, 0x10, 1}, length: MaxFrame + 1},
	}
	for _, tt := range tests {
		for kind, wrap := range map[string]func(io.Reader) io.Reader{
			"whole": func(r io.Reader) io.Reader { return r }, "half": iotest.HalfReader, "with error": iotest.DataErrReader,
		} {
			t.Run(tt.name+"/"+kind, func(t *testing.T) {
				got, err := frames(wrap(bytes.NewReader(tt.in)))
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Error(diff)
				}
				var le *LengthError
				if tt.err != nil && !errors.Is(err, tt.err) || tt.err == nil && (!errors.As(err, &le) || le.Length != tt.length) {
					t.Errorf("error %v, want %v or length %d", err, tt.err, tt.length)
				}
			})
		}
	}
}

// FuzzReader checks that whatever arrives, in whatever pieces, the reader gives only bytes of the stream, in order,
// never panics and always ends.
func FuzzReader(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x02ab\x00\x00\x00\x01c"), byte(3))
	f.Add([]byte("\x00\x00\x00\x00"), byte(1))
	f.Add([]byte("\xff\xff\xff\xff"), byte(9))
	f.Fuzz(func(t *testing.T, in []byte, piece byte) {
		got, err := frames(&pieces{in, int(piece) + 1})
		if err == nil {
			t.Fatal("no error at the end")
		}
		var again []byte
		for _, g := range got {
			if len(g) == 0 || len(g) > MaxFrame {
				t.Fatalf("frame of %d bytes", len(g))
			}
			again = Append(again, g)
		}
		if !bytes.HasPrefix(in, again) {
			t.Fatalf("%x is no beginning of %x", again, in)
		}
		if err == io.EOF && len(again) != len(in) {
			t.Fatalf("clean end after %d of %d bytes", len(again), len(in))
		}
	})
}

type pieces struct {
	b []byte
	n int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.b) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), p.n)], p.b)
	p.b = p.b[n:]
	return n, nil
}
