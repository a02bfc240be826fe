package kafkatest

import (
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// StartFake starts kfake, with options for the cluster behind Plain. It is stopped with the test.
func StartFake(t testing.TB, opts ...kfake.Opt) *Broker {
	t.Helper()
	ca, _, cfg := certificates(t)
	b := new(Broker)
	start := func(opts ...kfake.Opt) *kfake.Cluster {
		t.Helper()
		opts = append([]kfake.Opt{
			kfake.NumBrokers(1), kfake.GroupMinSessionTimeout(100 * time.Millisecond),
			kfake.BrokerConfigs(map[string]string{"message.max.bytes": "33554432"}),
		}, opts...)
		c, err := kfake.NewCluster(opts...)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}

	opts = append([]kfake.Opt{kfake.DataDir(t.TempDir())}, opts...)
	b.Fake = start(opts...)
	b.Plain = Listener{Addr: b.Fake.ListenAddrs()[0]}
	var ports []int
	for _, addr := range b.Fake.ListenAddrs() {
		_, port, err := net.SplitHostPort(addr)
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(port)
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, n)
	}
	b.stop = func(testing.TB) { b.Fake.Close() }
	b.start = func(testing.TB) { b.Fake = start(append(opts, kfake.Ports(ports...))...) }
	t.Cleanup(func() { b.Fake.Close() })

	sasl := start(kfake.EnableSASL(), kfake.Superuser("PLAIN", Username, Password),
		kfake.Superuser("SCRAM-SHA-256", Username, Password), kfake.Superuser("SCRAM-SHA-512", Username, Password))
	t.Cleanup(sasl.Close)
	b.SASL = Listener{Addr: sasl.ListenAddrs()[0], opts: saslClient()}

	secured := start(kfake.TLS(cfg))
	t.Cleanup(secured.Close)
	b.TLS = Listener{Addr: secured.ListenAddrs()[0], CAFile: ca, opts: tlsClient(t, ca)}
	return b
}
