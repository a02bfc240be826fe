package kafkatest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"
)

// Username and Password are who may sign in at the SASL listener, with PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512.
const (
	Username = "reader"
	Password = "correct-horse-battery-staple"
)

// Broker is a running Kafka.
type Broker struct {
	// Plain, SASL and TLS are its listeners. With StartFake they are three separate clusters, so a topic made on one of
	// them does not exist on the others.
	Plain, SASL, TLS Listener
	// Fake is the cluster behind Plain when it runs in the process, nil with Apache Kafka. Start makes a new one.
	Fake *kfake.Cluster

	stop, start func(t testing.TB)
}

// Listener is one way to reach a broker.
type Listener struct {
	Addr   string // host:port
	CAFile string // PEM of the certificate authority, for TLS
	opts   []kgo.Opt
}

// Stop ends the broker behind Plain without notice; its data stays.
func (b *Broker) Stop(t testing.TB) { t.Helper(); b.stop(t) }

// Start starts it again, on the same ports.
func (b *Broker) Start(t testing.TB) { t.Helper(); b.start(t) }

// Client makes a franz-go client for the listener, closed with the test.
func (l Listener) Client(t testing.TB, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append(append([]kgo.Opt{kgo.SeedBrokers(l.Addr), kgo.MetadataMinAge(10 * time.Millisecond),
		kgo.ProducerBatchMaxBytes(32 << 20), kgo.MaxBufferedBytes(256 << 20), kgo.BrokerMaxWriteBytes(128 << 20), kgo.BrokerMaxReadBytes(256 << 20), kgo.FetchMaxBytes(64 << 20)}, l.opts...), opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// request sends one request and fails the test if it gets no answer.
func request[R kmsg.Response](t testing.TB, cl *kgo.Client, req kmsg.Request) R {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	res, err := cl.Request(ctx, req)
	if err != nil {
		t.Fatalf("%s: %v", kmsg.NameForKey(req.Key()), err)
	}
	return res.(R)
}

// CreateTopic makes a topic; config is name, value, name, value.
func (l Listener) CreateTopic(t testing.TB, name string, partitions int32, config ...string) {
	t.Helper()
	cl := l.Client(t)
	defer cl.Close()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, partitions, 1
	for i := 0; i+1 < len(config); i += 2 {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = config[i], &config[i+1]
		topic.Configs = append(topic.Configs, c)
	}
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Topics = append(req.Topics, topic)
	req.TimeoutMillis = 10_000
	// A topic that was deleted a moment ago may linger.
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		res := request[*kmsg.CreateTopicsResponse](t, cl, req)
		err := kerr.ErrorForCode(res.Topics[0].ErrorCode)
		if err == nil {
			break
		}
		if !errors.Is(err, kerr.TopicAlreadyExists) || time.Now().After(deadline) {
			t.Fatalf("creating topic %s: %v", name, err)
		}
	}
	// Made is not yet known: wait until metadata names a leader.
	meta := kmsg.NewPtrMetadataRequest()
	mt := kmsg.NewMetadataRequestTopic()
	mt.Topic = &name
	meta.Topics = append(meta.Topics, mt)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		res := request[*kmsg.MetadataResponse](t, cl, meta)
		if tp := res.Topics[0]; tp.ErrorCode == 0 && len(tp.Partitions) == int(partitions) && tp.Partitions[partitions-1].Leader >= 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("topic %s got no leader", name)
		}
	}
}

// DeleteTopic deletes a topic.
func (l Listener) DeleteTopic(t testing.TB, name string) {
	t.Helper()
	cl := l.Client(t)
	defer cl.Close()
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TopicNames = []string{name}
	topic := kmsg.NewDeleteTopicsRequestTopic()
	topic.Topic = &name
	req.Topics = append(req.Topics, topic)
	req.TimeoutMillis = 10_000
	res := request[*kmsg.DeleteTopicsResponse](t, cl, req)
	if err := kerr.ErrorForCode(res.Topics[0].ErrorCode); err != nil {
		t.Fatalf("deleting topic %s: %v", name, err)
	}
}

// Exists tells whether a topic exists, without making it.
func (l Listener) Exists(t testing.TB, name string) bool {
	t.Helper()
	cl := l.Client(t)
	defer cl.Close()
	req := kmsg.NewPtrMetadataRequest()
	topic := kmsg.NewMetadataRequestTopic()
	topic.Topic = &name
	req.Topics = append(req.Topics, topic)
	return request[*kmsg.MetadataResponse](t, cl, req).Topics[0].ErrorCode == 0
}

// DeleteRecords moves the start of a partition's log to offset.
func (l Listener) DeleteRecords(t testing.TB, topic string, partition int32, offset int64) {
	t.Helper()
	cl := l.Client(t)
	defer cl.Close()
	p := kmsg.NewDeleteRecordsRequestTopicPartition()
	p.Partition, p.Offset = partition, offset
	rt := kmsg.NewDeleteRecordsRequestTopic()
	rt.Topic, rt.Partitions = topic, append(rt.Partitions, p)
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.Topics, req.TimeoutMillis = append(req.Topics, rt), 10_000
	res := request[*kmsg.DeleteRecordsResponse](t, cl, req)
	if err := kerr.ErrorForCode(res.Topics[0].Partitions[0].ErrorCode); err != nil {
		t.Fatalf("deleting records of %s/%d: %v", topic, partition, err)
	}
}

// Committed answers the offset that a group has committed, -1 if none.
func (l Listener) Committed(t testing.TB, group, topic string, partition int32) int64 {
	t.Helper()
	cl := l.Client(t)
	defer cl.Close()
	rt := kmsg.NewOffsetFetchRequestTopic()
	rt.Topic, rt.Partitions = topic, []int32{partition}
	rg := kmsg.NewOffsetFetchRequestGroup()
	rg.Group = group
	gt := kmsg.NewOffsetFetchRequestGroupTopic()
	gt.Topic, gt.Partitions = topic, []int32{partition}
	rg.Topics = append(rg.Topics, gt)
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Group, req.Topics, req.Groups = group, append(req.Topics, rt), append(req.Groups, rg)
	res := request[*kmsg.OffsetFetchResponse](t, cl, req)
	for _, g := range res.Groups {
		for _, tp := range g.Topics {
			return tp.Partitions[0].Offset
		}
	}
	for _, tp := range res.Topics {
		return tp.Partitions[0].Offset
	}
	return -1
}

// Members counts the members of a group.
func (l Listener) Members(t testing.TB, group string) int {
	t.Helper()
	cl := l.Client(t)
	defer cl.Close()
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Groups = []string{group}
	return len(request[*kmsg.DescribeGroupsResponse](t, cl, req).Groups[0].Members)
}

// saslClient is how the tools above sign in.
func saslClient() []kgo.Opt {
	return []kgo.Opt{kgo.SASL(plain.Auth{User: Username, Pass: Password}.AsMechanism())}
}

// certificates makes a certificate authority of its own and a server certificate for loopback. It answers the path of
// the authority's PEM file, that of a PEM file with the server's key and chain, and the server's TLS configuration.
func certificates(t testing.TB) (ca, server string, cfg *tls.Config) {
	t.Helper()
	dir := t.TempDir()
	must := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageCertSign}
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, &caKey.PublicKey, caKey)
	must(err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "broker"}, DNSNames: []string{"localhost", "broker.test"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: root.NotBefore, NotAfter: root.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, root, &key.PublicKey, caKey)
	must(err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	must(err)

	block := func(kind string, der []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	}
	ca, server = filepath.Join(dir, "ca.pem"), filepath.Join(dir, "server.pem")
	rootPEM, leafPEM, keyPEM := block("CERTIFICATE", rootDER), block("CERTIFICATE", leafDER), block("PRIVATE KEY", keyDER)
	must(os.WriteFile(ca, rootPEM, 0o600))
	must(os.WriteFile(server, append(append(append([]byte{}, keyPEM...), leafPEM...), rootPEM...), 0o600))
	pair, err := tls.X509KeyPair(append(append([]byte{}, leafPEM...), rootPEM...), keyPEM)
	must(err)
	return ca, server, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
}

// tlsClient trusts the authority of certificates.
func tlsClient(t testing.TB, ca string) []kgo.Opt {
	t.Helper()
	content, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(content)
	return []kgo.Opt{kgo.DialTLSConfig(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12})}
}
