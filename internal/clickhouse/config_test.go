package clickhouse

import "testing"

// What goes over a wire is compressed; only where every address is this machine's own, nothing is.
func TestLoopback(t *testing.T) {
	for _, c := range []struct {
		addresses []string
		want      bool
	}{
		{[]string{"127.0.0.1:9000"}, true},
		{[]string{"[::1]:9000", "127.9.9.9:9000"}, true},
		{[]string{"127.0.0.1:9000", "10.0.0.1:9000"}, false},
		{[]string{"clickhouse:9000"}, false},
		{[]string{"localhost:9000"}, false}, // a name may be anybody's
		{[]string{"[::ffff:10.0.0.1]:9000"}, false},
		{[]string{"nonsense"}, false},
	} {
		if got := (Config{Addresses: c.addresses}).loopback(); got != c.want {
			t.Errorf("%q: %v, want %v", c.addresses, got, c.want)
		}
	}
}
