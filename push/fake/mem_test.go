package fake

import (
	"net"
	"testing"

	"golang.org/x/net/nettest"
)

// A connection in memory behaves as a net.Conn must: deadlines, concurrent use,
// close in the middle, data after close.
func TestMemListenerConnections(t *testing.T) {
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		ln := NewMemListener()
		accepted := make(chan net.Conn, 1)
		go func() {
			c, _ := ln.Accept()
			accepted <- c
		}()
		if c1, err = ln.DialContext(t.Context(), "", ""); err != nil {
			return nil, nil, nil, err
		}
		c2 = <-accepted
		return c1, c2, func() { c1.Close(); c2.Close(); ln.Close() }, nil
	})
}
