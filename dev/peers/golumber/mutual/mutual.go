// Package mutual has what both ends of mutual TLS need: certificates that the command line names.
package mutual

import (
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"os"
)

var (
	authority   = flag.String("authority", "", "certificate of the authority, PEM")
	certificate = flag.String("certificate", "", "own certificate, PEM")
	key         = flag.String("key", "", "its key, PEM")
)

// Load reads them, once the command line is parsed: the own pair, and whom to trust.
func Load() (tls.Certificate, *x509.CertPool, error) {
	pair, err := tls.LoadX509KeyPair(*certificate, *key)
	if err != nil {
		return pair, nil, err
	}
	pem, err := os.ReadFile(*authority)
	if err != nil {
		return pair, nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return pair, nil, fmt.Errorf("no certificate in %s", *authority)
	}
	return pair, pool, nil
}
