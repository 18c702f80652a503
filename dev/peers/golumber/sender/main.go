// Sends events with Elastic's own protocol library, over mutual TLS, several windows at a time.
//
// Each line of its standard input is an event, a JSON object. It ends with status 0 when all of them are acknowledged,
// and with 1 when one window is not; it does not try again.
package main

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"flag"
	"log"
	"net"
	"os"
	"sync"

	v2 "github.com/elastic/go-lumber/client/v2"

	"golumber/mutual"
)

func main() {
	to := flag.String("to", "", "host:port of the collector")
	window := flag.Int("window", 100, "events of a window")
	windows := flag.Int("windows", 5, "windows on their way at the same time")
	level := flag.Int("level", 3, "level of compression, 0 to 9")
	flag.Parse()

	pair, pool, err := mutual.Load()
	fail(err)
	dial := func(network, address string) (net.Conn, error) {
		return tls.Dial(network, address, &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool})
	}
	client, err := v2.AsyncDialWith(dial, *to, *windows, v2.CompressionLevel(*level), v2.JSONEncoder(asItIs))
	fail(err)

	var open sync.WaitGroup
	send := func(events []interface{}) {
		if len(events) == 0 {
			return
		}
		open.Add(1)
		fail(client.Send(func(number uint32, err error) {
			fail(err)
			if int(number) != len(events) {
				log.Fatalf("%d of %d events were acknowledged", number, len(events))
			}
			open.Done()
		}, events))
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<24)
	var events []interface{}
	for lines.Scan() {
		events = append(events, append(json.RawMessage(nil), lines.Bytes()...))
		if len(events) == *window {
			send(events)
			events = nil
		}
	}
	fail(lines.Err())
	send(events)
	open.Wait()
}

func asItIs(event interface{}) ([]byte, error) {
	return event.(json.RawMessage), nil
}

func fail(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
