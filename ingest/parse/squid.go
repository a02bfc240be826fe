package parse

import (
	"bytes"
	"net/netip"
)

// squidAction says what Squid did with a request, by its result code (%Ss): a code with DENIED is blocked, a cache hit, a
// miss, a refresh or a tunnel is allowed, and the rest (NONE, TAG_NONE, TCP_REDIRECT) does not say. What the server behind
// the proxy answered is not the proxy's doing: TCP_MISS/403 is allowed.
//
// Source: https://wiki.squid-cache.org/SquidFaq/SquidLogs#squid-result-codes.
func squidAction(code []byte) Action {
	switch string(code) {
	case "TCP_MISS", "TCP_TUNNEL", "TCP_HIT", "TCP_MEM_HIT", "TCP_REFRESH_MODIFIED", "TCP_REFRESH_UNMODIFIED", "TCP_IMS_HIT", "TCP_INM_HIT":
		return Allowed
	case "TCP_DENIED", "TCP_DENIED_REPLY":
		return Blocked
	case "NONE", "NONE_NONE", "TAG_NONE":
		return Unsaid
	}
	for i := range code {
		switch tail := code[i:]; {
		case starts(tail, "DENIED"):
			return Blocked
		case starts(tail, "HIT"), starts(tail, "MISS"), starts(tail, "REFRESH"), starts(tail, "TUNNEL"):
			return Allowed
		}
	}
	return Unsaid
}

func starts(b []byte, with string) bool { return len(b) >= len(with) && string(b[:len(with)]) == with }

// squidPeer reads the peer of %Sh/%<a into destination.ip, unless the hierarchy code says that it was another proxy: that
// one's address tells nothing about the destination.
func squidPeer(hierarchy, peer []byte) netip.Addr {
	switch {
	case absent(peer):
	case starts(hierarchy, "HIER_DIRECT"), bytes.HasSuffix(hierarchy, []byte("DIRECT")),
		bytes.HasSuffix(hierarchy, []byte("ORIGINAL_DST")), bytes.HasSuffix(hierarchy, []byte("PINNED")):
		addr, _ := address(peer)
		return addr
	}
	return netip.Addr{}
}

// squidTarget reads a request's target (%ru) and answers why there is none that a statistic could count.
func squidTarget(url []byte, e *Event) (Reason, string) {
	if absent(url) || starts(url, "error:") {
		return NoRequest, ""
	}
	if !target(url, e) {
		return BadURL, "url.domain"
	}
	if e.Domain == nil && !e.DestinationIP.IsValid() {
		return NoDestination, "url.domain"
	}
	return "", ""
}
