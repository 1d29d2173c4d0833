package main

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
)

// seed is what a machine is told at its first boot.
type seed struct {
	authorized []string
	hostKey    string
	doc        document
	text       []byte // of the document
}

// document is what is needed here of labctl's guest.Document.
type document struct {
	Digest   string `json:"digest"`
	Hostname string `json:"hostname"`
	Network  []struct {
		MAC       string         `json:"mac"`
		Addresses []netip.Prefix `json:"addresses"`
		MTU       int            `json:"mtu"`
	} `json:"network"`
	Files []struct {
		Path string `json:"path"`
		Text string `json:"text"`
	} `json:"files"`
}

// report is labctl's guest.Report of a run that made everything true.
func (d document) report(run string) map[string]any {
	return map[string]any{"version": 2, "run": run, "digest": d.Digest, "state": "done", "ok": true, "pid": 1, "changed": []any{}, "errors": []any{}}
}

func parseSeed(text []byte) (*seed, error) {
	var user struct {
		Users []struct {
			Keys []string `json:"ssh_authorized_keys"`
		} `json:"users"`
		Keys struct {
			Private string `json:"ed25519_private"`
		} `json:"ssh_keys"`
		Files []struct {
			Path    string `json:"path"`
			Content string `json:"content"`
		} `json:"write_files"`
	}
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(&user); err != nil {
		return nil, err
	}
	s := &seed{hostKey: user.Keys.Private}
	for _, u := range user.Users {
		s.authorized = append(s.authorized, u.Keys...)
	}
	for _, f := range user.Files {
		if f.Path != "/etc/labctl/guest.json" {
			continue
		}
		packed, err := base64.StdEncoding.DecodeString(f.Content)
		if err != nil {
			return nil, err
		}
		z, err := gzip.NewReader(bytes.NewReader(packed))
		if err != nil {
			return nil, err
		}
		if s.text, err = io.ReadAll(z); err != nil {
			return nil, err
		}
		return s, json.Unmarshal(s.text, &s.doc)
	}
	return nil, errors.New("a seed without a document")
}
