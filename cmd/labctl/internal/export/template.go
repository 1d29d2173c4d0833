package export

import (
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/labctl-dev/labctl/guest/cloudinit"
	"github.com/labctl-dev/labctl/lab"
)

// literal is s as a template of Terraform's that comes to s: all strings in its JSON are templates.
func literal(s string) string {
	return strings.NewReplacer("${", "$${", "%{", "%%{").Replace(s)
}

// word stands in a document where a value goes that Terraform fills in. No text has it by chance.
func word(name string) string { return "@labctl-export:" + hex.EncodeToString([]byte(name)) + "@" }

// variable is the name of a variable, which shells can set, too: TF_VAR_...
func variable(kind, name string) string {
	return kind + "_" + strings.NewReplacer("-", "_", ".", "_", "+", "_").Replace(name)
}

// secretName is a secret's variable. Names that differ only in what is no letter or digit are told apart by their bytes.
func secretName(name string) string {
	var b strings.Builder
	for _, r := range name {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r >= 'A' && r <= 'Z':
			b.WriteRune(r)
		case r == '/' || r == '-':
			b.WriteByte('_')
		default:
			fmt.Fprintf(&b, "_%x_", r)
		}
	}
	return "secret_" + b.String()
}

// guest is the machine's guest document as a template: its secrets and keys are variables.
func (t *terraform) guest(s lab.Seed) string {
	text := literal(string(s.Guest))
	for name := range t.secrets {
		text = strings.ReplaceAll(text, word(name), fmt.Sprintf("${local.secret[%q]}", name))
	}
	return strings.ReplaceAll(text, word("authorized"), "${var.authorized_key}")
}

// userData is the machine's user-data as a template, with the guest document packed by Terraform.
func (t *terraform) userData(s lab.Seed) (string, error) {
	packed, err := cloudinit.Pack(s.Guest)
	if err != nil {
		return "", fmt.Errorf("cannot compress the guest document of %s: %w", s.Machine, err)
	}
	text := literal(string(s.UserData))
	if strings.Count(text, packed) != 1 {
		return "", fmt.Errorf("the user-data of %s does not hold its guest document once", s.Machine)
	}
	text = strings.Replace(text, packed, fmt.Sprintf("${base64gzip(local.guest[%q])}", s.Machine), 1)
	return strings.ReplaceAll(text, word("authorized"), "${var.authorized_key}"), nil
}
