// Counts events with Elastic's own protocol library, over mutual TLS: the receiver that every shipper is measured with.
//
// It prints its port, and once the wanted number of events has come, one JSON object: how many came, the bytes that
// they took on the wire, and the seconds from the first batch to the last. Events are counted, not decoded.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"sync/atomic"
	"time"

	v2 "github.com/elastic/go-lumber/server/v2"
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
	authority := flag.String("authority", "", "certificate of the authority, PEM")
	certificate := flag.String("certificate", "", "own certificate, PEM")
	key := flag.String("key", "", "its key, PEM")
	wanted := flag.Int("events", 1000000, "how many events to wait for")
	flag.Parse()

	pair, err := tls.LoadX509KeyPair(*certificate, *key)
	fail(err)
	pem, err := os.ReadFile(*authority)
	fail(err)
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		log.Fatal("no certificate in ", *authority)
	}
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	fail(err)
	listener := tls.NewListener(counting{plain}, &tls.Config{
		Certificates: []tls.Certificate{pair},
		ClientCAs:    pool,
		ClientAuth:   tls.RequireAndVerifyClientCert,
	})
	count := func([]byte, interface{}) error { return nil }
	server, err := v2.NewWithListener(listener, v2.JSONDecoder(count))
	fail(err)
	fmt.Println(plain.Addr().(*net.TCPAddr).Port)

	var first time.Time
	events := 0
	for batch := range server.ReceiveChan() {
		if first.IsZero() {
			first = time.Now()
		}
		events += len(batch.Events)
		batch.ACK()
		if events >= *wanted {
			break
		}
	}
	fmt.Printf("{\"events\": %d, \"wire\": %d, \"seconds\": %.6f}\n", events, wire.Load(), time.Since(first).Seconds())
	// The shipper takes its last acknowledgement before it is told to end.
	_, _ = os.Stdin.Read(make([]byte, 1))
}

func fail(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
