// CoreDNS with the plugins that our Corefile names, and without the clouds that others of its plugins bring. Libraries
// have the versions of ../kubernetes, so that what was compiled for that is not compiled again.
package main

import (
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/health"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/ready"
)

func main() { coremain.Run() }
