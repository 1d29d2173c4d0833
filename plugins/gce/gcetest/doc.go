// Package gcetest is a server of our own that speaks the compute REST API v1, and as much of Cloud DNS as labs need, so
// that the plugin for Compute Engine can be tried without a cloud. It is for tests only.
//
// It is strict where the real one is, and unpleasant where the real one is: every mutation answers 200 with an operation
// that may fail later; names, fields, references and addresses are checked; what is read back has defaults filled in,
// full URLs, and lacks empty lists; two changes of one thing are resourceNotReady; labels, metadata and tags take
// fingerprints. Cloud DNS refuses at once instead, and what it has changed is pending for
// a while. Which requests there are and what they may say is in api.json and dns.json, distilled from the APIs' own discovery
// documents; the texts of errors are those that people quote in public bug reports.
//
// What it does not know: packets (no instance runs anything), IAM; quotas other than those that a test sets are told and not held.
//
// It must not know the plugin, nor the contract that it fulfils.
package gcetest
