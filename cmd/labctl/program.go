package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"github.com/labctl-dev/labctl/lab"
)

// program reads a program of labctl's that runs on Linux elsewhere: in a container or an initrd. It lies where plugins do,
// and has the system and architecture in its name where these are not this host's: "labctl-netboot-linux-arm64".
func program(home, name string, arch lab.Arch) ([]byte, error) {
	file := name
	if runtime.GOOS != "linux" || runtime.GOARCH != string(arch) {
		file += "-linux-" + string(arch)
	}
	dirs := pluginDirs(home)
	for _, dir := range dirs {
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err == nil || !os.IsNotExist(err) {
			return text, err
		}
	}
	if path, err := exec.LookPath(file); err == nil {
		return os.ReadFile(path)
	}
	return nil, fmt.Errorf("there is no program %s in %s or on PATH; from labctl's source: CGO_ENABLED=0 GOOS=linux GOARCH=%s go build -o %s ./cmd/%s",
		file, dirs[0], arch, filepath.Join(dirs[0], file), name)
}
