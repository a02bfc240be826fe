package kafkatest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Jars is where "make test-kafka" puts Apache Kafka, below the root of the module.
const Jars = ".cache/kafka"

// StartApache starts one node of Apache Kafka (KRaft, broker and controller) on loopback with free ports and a data
// directory of its own. It is stopped with the test. It fails the test if Java or the jars are not there.
func StartApache(t testing.TB) *Broker {
	t.Helper()
	jars := filepath.Join(root(t), filepath.FromSlash(Jars), "*")
	if found, _ := filepath.Glob(jars + ".jar"); len(found) == 0 {
		t.Fatalf("no jars in %s: run 'make test-kafka'", Jars)
	}
	ca, server, _ := certificates(t)
	dir := t.TempDir()
	ports := freePorts(t, 4)
	addr := func(i int) string { return fmt.Sprintf("127.0.0.1:%d", ports[i]) }
	properties := filepath.Join(dir, "server.properties")
	jaas := "org.apache.kafka.common.security."
	lines := []string{
		"process.roles=broker,controller",
		"node.id=1",
		"controller.quorum.voters=1@" + addr(3),
		"listeners=PLAIN://" + addr(0) + ",SASL://" + addr(1) + ",TLS://" + addr(2) + ",CONTROLLER://" + addr(3),
		"advertised.listeners=PLAIN://" + addr(0) + ",SASL://" + addr(1) + ",TLS://" + addr(2),
		"listener.security.protocol.map=PLAIN:PLAINTEXT,SASL:SASL_PLAINTEXT,TLS:SSL,CONTROLLER:PLAINTEXT",
		"inter.broker.listener.name=PLAIN",
		"controller.listener.names=CONTROLLER",
		"sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
		"listener.name.sasl.plain.sasl.jaas.config=" + jaas + "plain.PlainLoginModule required user_" + Username + "=\"" + Password + "\";",
		"listener.name.sasl.scram-sha-256.sasl.jaas.config=" + jaas + "scram.ScramLoginModule required;",
		"listener.name.sasl.scram-sha-512.sasl.jaas.config=" + jaas + "scram.ScramLoginModule required;",
		"listener.name.tls.ssl.keystore.type=PEM",
		"listener.name.tls.ssl.keystore.location=" + filepath.ToSlash(server),
		"log.dirs=" + filepath.ToSlash(filepath.Join(dir, "data")),
		"offsets.topic.replication.factor=1",
		"offsets.topic.num.partitions=1",
		"transaction.state.log.replication.factor=1",
		"transaction.state.log.min.isr=1",
		"transaction.state.log.num.partitions=1",
		"group.initial.rebalance.delay.ms=0",
		"group.min.session.timeout.ms=100",
		"message.max.bytes=33554432",
		"broker.session.timeout.ms=1000", // how long a killed broker keeps its name
		"broker.heartbeat.interval.ms=200",
		"log.cleaner.backoff.ms=500",
		"log.initial.task.delay.ms=500",
		"auto.create.topics.enable=true", // the default: nothing here may rely on it being off
	}
	if err := os.WriteFile(properties, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}

	scram := func(n string) string { return "SCRAM-SHA-" + n + "=[name=" + Username + ",password=" + Password + "]" }
	format := java(jars, "kafka.tools.StorageTool", "format", "--cluster-id", "dGlsbHN5bi10ZXN0LTAwMQ", "--config", properties,
		"--add-scram", scram("256"), "--add-scram", scram("512"))
	if out, err := format.CombinedOutput(); err != nil {
		t.Fatalf("formatting Kafka's storage: %v\n%s", err, out)
	}

	b := new(Broker)
	b.Plain = Listener{Addr: addr(0)}
	b.SASL = Listener{Addr: addr(1), opts: saslClient()}
	b.TLS = Listener{Addr: addr(2), CAFile: ca, opts: tlsClient(t, ca)}

	var process *exec.Cmd
	var log *bytes.Buffer
	b.start = func(t testing.TB) {
		t.Helper()
		process, log = java(jars, "kafka.Kafka", properties), new(bytes.Buffer)
		process.Stdout, process.Stderr = log, log
		if err := process.Start(); err != nil {
			t.Fatal(err)
		}
		gone := make(chan error, 1)
		go func(p *exec.Cmd) { gone <- p.Wait() }(process)
		cl, err := kgo.NewClient(kgo.SeedBrokers(addr(0)))
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		for deadline := time.Now().Add(time.Minute); ; {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			err := cl.Ping(ctx)
			cancel()
			if err == nil {
				return
			}
			select {
			case err := <-gone:
				t.Fatalf("Kafka ended while starting: %v\n%s", err, log)
			case <-time.After(100 * time.Millisecond):
			}
			if time.Now().After(deadline) {
				_ = process.Process.Kill()
				<-gone
				t.Fatalf("Kafka does not answer: %v\n%s", err, log)
			}
		}
	}
	b.stop = func(t testing.TB) {
		t.Helper()
		_ = process.Process.Kill()
		// Whoever waits for the process is the goroutine above; here it is enough that the port is free again.
		for deadline := time.Now().Add(20 * time.Second); process.Process.Signal(syscall.Signal(0)) == nil || errors.Is(dialable(addr(0)), nil); {
			if time.Now().After(deadline) {
				t.Fatal("Kafka does not end")
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	b.start(t)
	t.Cleanup(func() { b.stop(t) })
	return b
}

func dialable(addr string) error {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err == nil {
		c.Close()
	}
	return err
}

func java(jars, class string, args ...string) *exec.Cmd {
	return exec.Command("java", append([]string{"-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
		"-cp", jars, class}, args...)...)
}

// root is the directory of go.mod, above the package under test.
func root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("go.mod not found above the working directory")
		}
		dir = up
	}
}

// freePorts answers ports that nobody listened on a moment ago.
func freePorts(t testing.TB, n int) []int {
	t.Helper()
	out := make([]int, n)
	for i := range out {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		out[i] = l.Addr().(*net.TCPAddr).Port
	}
	return out
}
