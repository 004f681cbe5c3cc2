// Package peers holds what one would build with other libraries, each by its
// documentation, and measures it beside the index:
//
//	go test -C bench/peers -bench .
//
// It is a module of its own, so that the product does not depend on what it is only
// compared with.
package peers
