package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"runtime"
	"strconv"
	"time"
)

const pipelined = 500

// resp is a connection that speaks the protocol of Redis.
type resp struct {
	net.Conn
	r *bufio.Reader
	w *bufio.Writer
}

func dialResp(addr string) (*resp, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &resp{c, bufio.NewReaderSize(c, 1<<16), bufio.NewWriterSize(c, 1<<16)}, nil
}

func (c *resp) send(args ...string) {
	c.w.WriteString("*" + strconv.Itoa(len(args)) + "\r\n")
	for _, a := range args {
		c.w.WriteString("$" + strconv.Itoa(len(a)) + "\r\n" + a + "\r\n")
	}
}

// reply reads one reply; arrays come as their elements.
func (c *resp) reply() ([]string, error) {
	line, err := c.r.ReadString('\n')
	if err != nil {
		return nil, err
	}
	if len(line) < 3 {
		return nil, fmt.Errorf("a reply of %q", line)
	}
	body := line[1 : len(line)-2]
	switch line[0] {
	case '-':
		return nil, fmt.Errorf("server says %s", body)
	case '$':
		n, err := strconv.Atoi(body)
		if err != nil || n < 0 {
			return []string{""}, err
		}
		b := make([]byte, n+2)
		_, err = io.ReadFull(c.r, b)
		return []string{string(b[:n])}, err
	case '*':
		n, err := strconv.Atoi(body)
		if err != nil {
			return nil, err
		}
		var all []string
		for range n {
			one, err := c.reply()
			if err != nil {
				return nil, err
			}
			all = append(all, one...)
		}
		return all, nil
	}
	return []string{body}, nil
}

// pipeline sends n commands, pipelined at a time, and reads their replies.
func (c *resp) pipeline(n int, command func(i int) []string) error {
	for first := 0; first < n; first += pipelined {
		end := min(first+pipelined, n)
		for i := first; i < end; i++ {
			c.send(command(i)...)
		}
		if err := c.w.Flush(); err != nil {
			return err
		}
		for i := first; i < end; i++ {
			if _, err := c.reply(); err != nil {
				return fmt.Errorf("%v: %w", command(i), err)
			}
		}
	}
	return nil
}

// play is pipeline for commands that are written already and end at ends.
func (c *resp) play(frames []byte, ends []int) error {
	from := 0
	for first := 0; first < len(ends); first += pipelined {
		some := ends[first:min(first+pipelined, len(ends))]
		to := some[len(some)-1]
		if _, err := c.Write(frames[from:to]); err != nil {
			return err
		}
		from = to
		for range some {
			if _, err := c.reply(); err != nil {
				return err
			}
		}
	}
	return nil
}

// tile38Player has one channel for each fence, as the documentation of geofences does.
func tile38Player(addr string) player {
	return func(t *trace, w *stopwatch) ([]event, error) {
		c, err := dialResp(addr)
		if err != nil {
			return nil, err
		}
		defer c.Close()
		if err := c.pipeline(1, func(int) []string { return []string{"FLUSHDB"} }); err != nil {
			return nil, err
		}
		err = c.pipeline(len(t.fences), func(i int) []string {
			p := t.fences[i].Center()
			return []string{"SETCHAN", fenceID(int32(i)), "NEARBY", "fleet", "FENCE", "DETECT", "enter,exit", "POINT", degrees(p.Lat), degrees(p.Lng), "200"}
		})
		if err != nil {
			return nil, err
		}
		sub, err := dialResp(addr)
		if err != nil {
			return nil, err
		}
		defer sub.Close()
		sub.send("PSUBSCRIBE", "*")
		if err := sub.w.Flush(); err != nil {
			return nil, err
		}
		if _, err := sub.reply(); err != nil {
			return nil, err
		}
		got := make(chan event, 1<<16)
		go func() {
			defer close(got)
			for {
				m, err := sub.reply()
				if err != nil {
					return // closed below
				}
				var e struct{ Detect, Hook, ID string }
				if len(m) > 0 && json.Unmarshal([]byte(m[len(m)-1]), &e) == nil && e.Detect != "" {
					got <- event{e.ID, e.Hook, e.Detect == "enter"}
				}
			}
		}()
		// Made beforehand, like the gateway's.
		var frames bytes.Buffer
		socket := c.w
		c.w = bufio.NewWriter(&frames)
		var ends []int
		for i := range t.pings {
			p := &t.pings[i]
			c.send("SET", "fleet", p.device, "POINT", degrees(p.at.Lat), degrees(p.at.Lng))
			c.w.Flush()
			ends = append(ends, frames.Len())
		}
		c.w = socket
		runtime.GC()
		w.start()
		err = c.play(frames.Bytes(), ends)
		w.stop()
		if err != nil {
			return nil, err
		}
		return collect(got, t.events)
	}
}

func degrees(v float64) string { return strconv.FormatFloat(v, 'f', 9, 64) }

// collect takes n events, and what comes in half a second more.
func collect(got <-chan event, n int) (events []event, err error) {
	patience := 20 * time.Second
	for {
		if len(events) == n {
			patience = 500 * time.Millisecond
		}
		select {
		case e, ok := <-got:
			if !ok {
				return events, io.ErrUnexpectedEOF
			}
			events = append(events, e)
		case <-time.After(patience):
			return events, nil
		}
	}
}
