package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/picture"
)

// drawAndOpen writes a picture to a file and shows it. The file stays: whoever shows it may read it later.
func (c *cli) drawAndOpen(ctx context.Context, p picture.Picture, f picture.Format, g graphFlags) error {
	file := g.file
	if file == "" {
		dir, err := os.MkdirTemp("", "labctl-graph-")
		if err != nil {
			return err
		}
		file = filepath.Join(dir, p.Lab.Name+"."+string(f))
	}
	if err := c.draw(p, f, file); err != nil {
		return err
	}
	opener, err := browser()
	if err != nil {
		return fmt.Errorf("cannot show the picture, which is %s: %w", file, err)
	}
	c.note("showing %s", file)
	if out, err := exec.CommandContext(ctx, opener, file).CombinedOutput(); err != nil {
		return fmt.Errorf("cannot show the picture, which is %s: %s: %w: %s", file, filepath.Base(opener), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// browser is the program that shows files: what $BROWSER says, else the system's.
func browser() (string, error) {
	names := []string{"xdg-open", "sensible-browser"}
	if runtime.GOOS == "darwin" {
		names = []string{"open"}
	}
	if b := os.Getenv("BROWSER"); b != "" {
		names = append([]string{b}, names...)
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not installed (Debian: apt-get install xdg-utils); set BROWSER to a program that shows it, or open the file yourself", names[len(names)-1-min(1, len(names)-1)])
}
