package kafka

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/apiversions"
	"github.com/segmentio/kafka-go/protocol/saslauthenticate"
	"github.com/segmentio/kafka-go/protocol/saslhandshake"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"
)

// callTimeout bounds one exchange with a broker, beyond what the broker itself is asked to wait.
const callTimeout = 10 * time.Second

// maxReply bounds answers other than fetches: metadata of a very large cluster stays well below it.
const maxReply = 64 << 20

// errSetup marks faults of the configuration or the network that trying again does not cure.
var errSetup = errors.New("connection settings do not fit the brokers")

// dialer opens connections to brokers: TCP, TLS, versions, sign-in.
type dialer struct {
	clientID string
	tls      *tls.Config
	sasl     SASL
}

// conn is one connection to one broker, used by one goroutine at a time. After any error it must be closed.
type conn struct {
	net.Conn
	r        *bufio.Reader
	last     int32 // correlation id of the last request
	clientID string
	versions map[protocol.ApiKey]versions
}

type versions struct{ low, high int16 }

func (d *dialer) dial(ctx context.Context, addr string) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: raw, clientID: d.clientID}
	if err := d.open(ctx, c, addr); err != nil {
		c.Close()
		if ctx.Err() == nil {
			return nil, err
		}
		return nil, fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return c, nil
}

// open does everything between the TCP handshake and the first request of ours.
func (d *dialer) open(ctx context.Context, c *conn, addr string) error {
	if d.tls != nil {
		cfg := d.tls
		if cfg.ServerName == "" {
			host, _, err := net.SplitHostPort(addr)
			if err != nil {
				return err
			}
			cfg = cfg.Clone()
			cfg.ServerName = host
		}
		t := tls.Client(c.Conn, cfg)
		if err := t.HandshakeContext(ctx); err != nil {
			var unverified *tls.CertificateVerificationError
			var notTLS tls.RecordHeaderError
			switch {
			case errors.As(err, &unverified):
				return fmt.Errorf("%w: broker's certificate is not trusted, check tls.ca_file and tls.server_name: %w", errSetup, err)
			case errors.As(err, &notTLS):
				return fmt.Errorf("%w: broker does not speak TLS on this port, check brokers and tls.enabled", errSetup)
			}
			return fmt.Errorf("tls handshake: %w", err)
		}
		c.Conn = t
	}
	c.r = bufio.NewReaderSize(c.Conn, 64<<10)
	if err := c.learnVersions(ctx); err != nil {
		return fmt.Errorf("asking the broker for its versions: %w", err)
	}
	if d.sasl.Mechanism == "" {
		return nil
	}
	return c.signIn(ctx, d.sasl)
}

func (c *conn) learnVersions(ctx context.Context) error {
	// Version 0 is the one that every broker answers.
	c.versions = map[protocol.ApiKey]versions{protocol.ApiVersions: {0, 0}}
	msg, err := c.call(ctx, callTimeout, &apiversions.Request{})
	if err != nil {
		return err
	}
	res := msg.(*apiversions.Response)
	if err := codeError(res.ErrorCode); err != nil {
		return err
	}
	for _, k := range res.ApiKeys {
		c.versions[protocol.ApiKey(k.ApiKey)] = versions{k.MinVersion, k.MaxVersion}
	}
	return nil
}

// mechanism reads the password anew each time, so that it can be changed in its file.
func (s SASL) mechanism() (sasl.Mechanism, error) {
	content, err := os.ReadFile(s.PasswordFile)
	if err != nil {
		return nil, fmt.Errorf("%w: sasl.password_file: %w", errSetup, err)
	}
	password := strings.TrimRight(string(content), "\r\n")
	if s.Mechanism == "plain" {
		return plain.Mechanism{Username: s.Username, Password: password}, nil
	}
	hash := scram.SHA512
	if s.Mechanism == "scram-sha-256" {
		hash = scram.SHA256
	}
	m, err := scram.Mechanism(hash, s.Username, password)
	if err != nil {
		// What scram says quotes the user.
		return nil, fmt.Errorf("%w: sasl.username or the password holds characters that SASLprep (RFC 4013) forbids", errSetup)
	}
	return m, nil
}

// signIn does the SASL exchange. Its errors never carry what the broker or the mechanism said about user and password.
func (c *conn) signIn(ctx context.Context, s SASL) error {
	m, err := s.mechanism()
	if err != nil {
		return err
	}
	refused := fmt.Errorf("%w: check sasl.username and the content of sasl.password_file (mechanism %s)", ErrAuthentication, s.Mechanism)
	msg, err := c.call(ctx, callTimeout, &saslhandshake.Request{Mechanism: m.Name()})
	if err != nil {
		return fmt.Errorf("sign-in: %w", err)
	}
	if hs := msg.(*saslhandshake.Response); hs.ErrorCode != 0 {
		return fmt.Errorf("%w: the broker does not offer %s on this port, it offers %s", ErrAuthentication, m.Name(), strings.Join(hs.Mechanisms, ", "))
	}
	session, state, err := m.Start(ctx)
	if err != nil {
		return fmt.Errorf("%w: password can't be used with this mechanism", ErrAuthentication)
	}
	for done := false; !done; {
		msg, err := c.call(ctx, callTimeout, &saslauthenticate.Request{AuthBytes: state})
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return refused
		}
		if err != nil {
			return fmt.Errorf("sign-in: %w", err)
		}
		res := msg.(*saslauthenticate.Response)
		if res.ErrorCode == int16(kafkago.SASLAuthenticationFailed) {
			return refused
		}
		if err := codeError(res.ErrorCode); err != nil {
			return fmt.Errorf("sign-in: %w", err)
		}
		if done, state, err = session.Next(ctx, res.AuthBytes); err != nil {
			return refused
		}
	}
	return nil
}

// guard makes reads and writes fail when ctx ends or the timeout is over. The answer must be called afterwards.
func (c *conn) guard(ctx context.Context, timeout time.Duration) (release func()) {
	deadline := time.Now().Add(timeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	_ = c.SetDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	return func() { stop() }
}

// Read reads through the buffer: kafka-go's decoder asks for a few bytes at a time.
func (c *conn) Read(b []byte) (int, error) { return c.r.Read(b) }

// version picks the highest version of a request that is at most ours and that the broker takes.
func (c *conn) version(key protocol.ApiKey, ours int16) (int16, error) {
	v, ok := c.versions[key]
	if best := min(ours, v.high); ok && best >= v.low {
		return best, nil
	}
	return 0, fmt.Errorf("%w: broker takes %v requests of version %d to %d, we speak up to %d", ErrUnsupported, key, v.low, v.high, ours)
}

// ourVersion is the newest version of a request that kafka-go gets right. Its flexible JoinGroup and SyncGroup are
// malformed; its answers to Heartbeat and LeaveGroup from version 1 on read the error code where the throttle time is, so
// that they never see an error.
func ourVersion(key protocol.ApiKey) int16 {
	switch key {
	case protocol.JoinGroup, protocol.OffsetFetch, protocol.ListOffsets:
		return 5
	case protocol.SyncGroup:
		return 3
	case protocol.ApiVersions, protocol.Heartbeat, protocol.LeaveGroup:
		return 0
	default:
		return key.MaxVersion()
	}
}

// call sends one of kafka-go's messages and reads its answer.
func (c *conn) call(ctx context.Context, timeout time.Duration, req protocol.Message) (protocol.Message, error) {
	version, err := c.version(req.ApiKey(), ourVersion(req.ApiKey()))
	if err != nil {
		return nil, err
	}
	if p, ok := req.(protocol.PreparedMessage); ok {
		p.Prepare(version)
	}
	defer c.guard(ctx, timeout)()
	c.last++
	res, err := protocol.RoundTrip(c, version, c.last, c.clientID, req)
	if err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return res, err
}

// send writes a request that was encoded here: body follows the header.
func (c *conn) send(key protocol.ApiKey, version int16, flexible bool, body []byte) error {
	c.last++
	frame := make([]byte, 4, 32+len(c.clientID)+len(body))
	frame = binary.BigEndian.AppendUint16(frame, uint16(key))
	frame = binary.BigEndian.AppendUint16(frame, uint16(version))
	frame = binary.BigEndian.AppendUint32(frame, uint32(c.last))
	frame = binary.BigEndian.AppendUint16(frame, uint16(len(c.clientID)))
	frame = append(frame, c.clientID...)
	if flexible {
		frame = append(frame, 0)
	}
	frame = append(frame, body...)
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
	_, err := c.Write(frame)
	return err
}

// size reads the length of the next answer, at least enough for its correlation id.
func (c *conn) size() (int, error) {
	var b [4]byte
	if _, err := io.ReadFull(c.r, b[:]); err != nil {
		return 0, err
	}
	n := int32(binary.BigEndian.Uint32(b[:]))
	if n < 4 {
		return 0, fmt.Errorf("broker sent an answer of %d bytes", n)
	}
	return int(n), nil
}

// body reads an answer into b and gives back what follows the correlation id.
func (c *conn) body(b []byte) ([]byte, error) {
	if _, err := io.ReadFull(c.r, b); err != nil {
		return nil, err
	}
	if id := int32(binary.BigEndian.Uint32(b)); id != c.last {
		return nil, fmt.Errorf("broker answered request %d, not %d", id, c.last)
	}
	return b[4:], nil
}
