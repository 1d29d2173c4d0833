package conn

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/digitalocean/go-libvirt"

	"github.com/labctl-dev/labctl/plugins/libvirt/uri"
	"github.com/labctl-dev/labctl/provider"
)

// failure is an error with a code that still has in its chain what it was made of, libvirt's own error above all.
type failure struct {
	coded *provider.Error
	cause error
}

func (f *failure) Error() string   { return f.coded.Error() }
func (f *failure) Unwrap() []error { return []error{f.coded, f.cause} }

func failed(code provider.Code, what string, cause error) error {
	return &failure{&provider.Error{Code: code, Text: what + ": " + cause.Error()}, cause}
}

// gaveUp is the error of a caller who would not wait any longer.
func gaveUp(ctx context.Context, what string) error {
	err := ctx.Err()
	return failed(provider.CodeOf(err), "gave up waiting: "+what, err)
}

// explain gives err a code and says what was tried; nil stays nil, and an error that has a code keeps it.
func explain(what string, err error) error { return explainAs(provider.CodeOf(err), what, err) }

// explainAs is explain with the code for what is no error of libvirt's.
func explainAs(code provider.Code, what string, err error) error {
	var p *provider.Error
	if err == nil || errors.As(err, &p) {
		return err
	}
	var e libvirt.Error
	if errors.As(err, &e) {
		code = CodeOf(e)
	}
	if errors.Is(err, libvirt.ErrUnsupported) {
		code = provider.Unsupported
	}
	return failed(code, what, err)
}

// Is says whether err is, or was made of, an error of libvirt's with one of these numbers.
func Is(err error, numbers ...libvirt.ErrorNumber) bool {
	var e libvirt.Error
	return errors.As(err, &e) && slices.Contains(numbers, libvirt.ErrorNumber(e.Code))
}

// codes is what libvirt's error numbers (virterror.h) are to labctl. All others are Internal.
func codes(n libvirt.ErrorNumber) provider.Code {
	switch n {
	case libvirt.ErrNoDomain, libvirt.ErrNoNetwork, libvirt.ErrNoStoragePool, libvirt.ErrNoStorageVol, libvirt.ErrNoNodeDevice,
		libvirt.ErrNoInterface, libvirt.ErrNoNwfilter, libvirt.ErrNoSecret, libvirt.ErrNoDomainSnapshot, libvirt.ErrNoDomainCheckpoint,
		libvirt.ErrNoDomainMetadata, libvirt.ErrNoNetworkMetadata, libvirt.ErrNoNetworkPort, libvirt.ErrNoDomainBackup,
		libvirt.ErrDeviceMissing, libvirt.ErrUnknownHost:
		return provider.NotFound
	case libvirt.ErrDomExist, libvirt.ErrNetworkExist, libvirt.ErrStorageVolExist, libvirt.ErrStoragePoolBuilt, libvirt.ErrNetworkPortExist:
		return provider.Foreign
	case libvirt.ErrResourceBusy, libvirt.ErrBlockCopyActive:
		return provider.InUse
	case libvirt.ErrOperationDenied, libvirt.ErrAuthFailed, libvirt.ErrAuthCancelled, libvirt.ErrAuthUnavailable, libvirt.ErrAccessDenied:
		return provider.Denied
	case libvirt.ErrNoMemory:
		return provider.Full
	case libvirt.ErrNoSupport, libvirt.ErrConfigUnsupported, libvirt.ErrArgumentUnsupported, libvirt.ErrOperationUnsupported, libvirt.ErrCPUIncompatible:
		return provider.Unsupported
	case libvirt.ErrXMLError, libvirt.ErrXMLDetail, libvirt.ErrXMLInvalidSchema, libvirt.ErrInvalidArg, libvirt.ErrInvalidMac, libvirt.ErrParseFailed,
		libvirt.ErrNoName, libvirt.ErrNoOs, libvirt.ErrNoSource, libvirt.ErrNoTarget, libvirt.ErrNoDevice, libvirt.ErrOsType:
		return provider.Invalid
	case libvirt.ErrOperationTimeout, libvirt.ErrAgentUnresponsive, libvirt.ErrAgentUnsynced, libvirt.ErrAgentCommandTimeout:
		return provider.Busy
	case libvirt.ErrNoConnect, libvirt.ErrRPC, libvirt.ErrDbusService:
		return provider.Unavailable
	}
	return provider.Internal
}

// CodeOf is the class of an error of libvirt's: by its number, and where that says only "failed", by its text, which
// is then the only thing that tells a full disk from a missing file.
func CodeOf(e libvirt.Error) provider.Code {
	n := libvirt.ErrorNumber(e.Code)
	if code := codes(n); code != provider.Internal {
		return code
	}
	for _, c := range []struct {
		words string
		code  provider.Code
	}{
		{"No space left on device", provider.Full}, {"Disk quota exceeded", provider.Full}, {"Cannot allocate memory", provider.Full},
		{"cannot set up guest memory", provider.Full}, {"Not enough free", provider.Full}, {"not enough free", provider.Full},
		{"virtnetworkd-sock", provider.Unavailable}, {"virtstoraged-sock", provider.Unavailable}, // modular daemons ask each other
		{"virtlogd-sock", provider.Unavailable}, {"virtlockd-sock", provider.Unavailable},
		{"Failed to get \"write\" lock", provider.InUse}, {"Failed to get shared \"write\" lock", provider.InUse},
		{"already exists", provider.Foreign}, {"already in use", provider.InUse}, {"is in use", provider.InUse}, {"Active console session exists", provider.InUse},
		{"Device or resource busy", provider.InUse},
		{"already defined", provider.Foreign}, {"exists already", provider.Foreign},
		{"Permission denied", provider.Denied}, {"Read-only file system", provider.Denied}, {"Operation not permitted", provider.Denied},
		{"No such file or directory", provider.NotFound}, {"Cannot find", provider.NotFound},
	} {
		if strings.Contains(e.Message, c.words) {
			return c.code
		}
	}
	return provider.Internal
}

// denied adds to an error of connecting who may.
func denied(u uri.URI, err error) error {
	if !Is(err, libvirt.ErrAuthFailed, libvirt.ErrAuthCancelled, libvirt.ErrAuthUnavailable) {
		return err
	}
	where := "there"
	if u.Local() {
		where = "on this host"
	}
	return failed(provider.Denied, err.Error(), fmt.Errorf("only root and members of the group libvirt may manage machines %s without being asked for a password", where))
}
