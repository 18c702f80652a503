// Receives events with Elastic's own protocol library, over mutual TLS: counts them for benchmarks, or records them
// for tests.
//
// It prints its port, and once the wanted number of events has come, one JSON object: how many came, the bytes that
// they took on the wire, and the seconds from the first batch to the last; then it waits for the end of its standard
// input. Events that are only counted are not decoded. Those that are recorded have to be JSON, and are in the file
// before they are acknowledged.
package main

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/elastic/go-lumber/lj"
	v2 "github.com/elastic/go-lumber/server/v2"

	"golumber/mutual"
)

var wire atomic.Int64

type counted struct{ net.Conn }

func (c counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	wire.Add(int64(n))
	return n, err
}

type counting struct{ net.Listener }

func (l counting) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return counted{c}, err
}

func main() {
	wanted := flag.Int("events", 1000000, "how many events to wait for; 0: go on until killed")
	port := flag.Int("port", 0, "port of 127.0.0.1; 0: a free one")
	record := flag.String("record", "", "file to append each event to, one JSON object a line")
	flag.Parse()

	pair, pool, err := mutual.Load()
	fail(err)
	var file *os.File
	decode := func([]byte, interface{}) error { return nil }
	if *record != "" {
		file, err = os.OpenFile(*record, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		fail(err)
		decode = keep
	}
	plain, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", *port))
	fail(err)
	listener := tls.NewListener(counting{plain}, &tls.Config{
		Certificates: []tls.Certificate{pair},
		ClientCAs:    pool,
		ClientAuth:   tls.RequireAndVerifyClientCert,
	})
	server, err := v2.NewWithListener(listener, v2.JSONDecoder(decode))
	fail(err)
	fmt.Println(plain.Addr().(*net.TCPAddr).Port)

	var first time.Time
	events := 0
	for batch := range server.ReceiveChan() {
		if first.IsZero() {
			first = time.Now()
		}
		if file != nil {
			write(file, batch)
		}
		events += len(batch.Events)
		batch.ACK()
		if *wanted > 0 && events >= *wanted {
			break
		}
	}
	fmt.Printf("{\"events\": %d, \"wire\": %d, \"seconds\": %.6f}\n", events, wire.Load(), time.Since(first).Seconds())
	// The shipper takes its last acknowledgement before it is told to end.
	_, _ = os.Stdin.Read(make([]byte, 1))
}

// Keeps an event as it came; the library uses its buffer again.
func keep(data []byte, event interface{}) error {
	if !json.Valid(data) {
		log.Printf("no JSON: %q", data)
		return errors.New("an event that is no JSON")
	}
	*event.(*interface{}) = append([]byte(nil), data...)
	return nil
}

func write(file *os.File, batch *lj.Batch) {
	var lines []byte
	for _, event := range batch.Events {
		lines = append(append(lines, event.([]byte)...), '\n')
	}
	_, err := file.Write(lines)
	fail(err)
}

func fail(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
