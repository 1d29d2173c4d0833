//go:build !linux

package nspawn

import (
	"errors"
	"syscall"
)

func apart(bool) *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

func inside(int, func() error) error { return errors.New("network namespaces need Linux") }

func watches(int) bool { return false }
