package api

import "strings"

// Base is the last part of a path or URL: the name of what it leads to.
func Base(link string) string { return link[strings.LastIndexByte(link, '/')+1:] }
