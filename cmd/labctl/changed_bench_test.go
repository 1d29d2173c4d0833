package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// BenchmarkVetChanged is what a hook costs: `labctl vet --changed` in a repository of 20 labs of ten machines each, with a
// router and a policy, of which the commit touches one, or all by a part that they import. It includes the start of labctl
// and of the plugin of the labs' target.
func BenchmarkVetChanged(b *testing.B) {
	for _, c := range []struct{ name, file string }{{"touches=0", "README"}, {"touches=1", "lab7.cue"}, {"touches=20", "parts/parts.cue"}} {
		b.Run(c.name, func(b *testing.B) {
			dir := labsRepository(b)
			if err := os.WriteFile(filepath.Join(dir, c.file), append(read(b, filepath.Join(dir, c.file)), "// changed\n"...), 0o600); err != nil {
				b.Fatal(err)
			}
			inside(b, dir, "git", "add", ".")
			var cpu time.Duration
			for b.Loop() {
				cpu += inside(b, dir, "labctl", "vet", "--changed")
			}
			b.ReportMetric(float64(cpu.Milliseconds())/float64(b.N), "cpu-ms/op")
		})
	}
}

func read(b *testing.B, name string) []byte {
	text, err := os.ReadFile(name)
	if err != nil {
		b.Fatal(err)
	}
	return text
}

// inside runs a program in dir, and returns what processor time it and those that it waited for took.
func inside(b *testing.B, dir, program string, args ...string) time.Duration {
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LABCTL_HOME="+filepath.Join(dir, ".home"))
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%s %v: %v\n%s", program, args, err, out)
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}

// labsRepository is a git repository with labs.
func labsRepository(b *testing.B) string {
	dir := b.TempDir()
	files := map[string]string{
		"README":             "labs\n",
		".gitignore":         ".home\n",
		"cue.mod/module.cue": "module: \"labs.example\"\nlanguage: version: \"v0.9.0\"\n",
		"parts/parts.cue":    "package parts\n\nSmall: memory: \"512MiB\"\n",
	}
	for i := range 20 {
		files[fmt.Sprintf("lab%d.cue", i)] = fmt.Sprintf(`import "labs.example/parts"

name: "lab%d"
networks: {
	wan: {uplink: true, cidr: "192.168.7.0/24"}
	inner: cidr: "10.20.0.0/24"
}
routers: edge: {nics: {wan: {}, inner: {}}, publish: "tcp/8080": "m0:80"}
servers: {
	for i in [0, 1, 2, 3, 4, 5, 6, 7, 8] {"m\(i)": parts.Small & {nics: inner: {}}}
}
policy: updates: {from: "inner", to: "world", allow: ["tcp/80", "tcp/443"]}
expect: closed: {from: "world", never: "tcp/22", on: "inner"}
targets: local: provider: "memory"
`, i)
	}
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	inside(b, dir, "git", "init", "-q")
	inside(b, dir, "git", "add", ".")
	inside(b, dir, "git", "-c", "user.name=me", "-c", "user.email=me@lab.example", "commit", "-q", "-m", "first")
	return dir
}
