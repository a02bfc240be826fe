package clickhouse

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// drainTime bounds how long a closed connection waits for the server to close its side.
const drainTime = 5 * time.Second

// A gentleConn says goodbye before it hangs up. Closing a socket that holds unread bytes resets the connection, and a reset
// connection aborts the embedded engine (26.7.3: an exception leaves its TCP handler). The driver closes so whenever a context
// ends in the middle of an answer.
type gentleConn struct {
	*net.TCPConn
	once sync.Once
}

// dialer answers how plain connections are made: as gentleConns, within timeout.
func dialer(timeout time.Duration) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, address string) (net.Conn, error) {
		d := net.Dialer{Timeout: timeout}
		c, err := d.DialContext(ctx, "tcp", address)
		if err != nil {
			return nil, err
		}
		tcp, ok := c.(*net.TCPConn)
		if !ok {
			return nil, fmt.Errorf("dial %s: got a %T", address, c)
		}
		return &gentleConn{TCPConn: tcp}, nil
	}
}

// Close ends the sending side at once and the connection when the server has ended its own, or after drainTime.
func (c *gentleConn) Close() error {
	c.once.Do(func() {
		if c.CloseWrite() != nil {
			_ = c.TCPConn.Close() // the line is gone already
			return
		}
		_ = c.SetReadDeadline(time.Now().Add(drainTime))
		go func() {
			_, _ = io.Copy(io.Discard, c.TCPConn)
			_ = c.TCPConn.Close()
		}()
	})
	return nil
}
