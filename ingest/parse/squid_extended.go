package parse

import "bytes"

// squid_extended is a Squid log to which a site added columns. With a logformat it is read by that, as squid_logformat is.
// Without one each line is recognised: the native line, or common or combined, each followed by quoted columns:
//
//	%ts.%03tu %6tr %>a %Ss/%03>Hs %<st %rm %ru %[un %Sh/%<a %mt "%{Referer}>h" "%{User-Agent}>h" ...
//
// Of the quoted columns behind a native line the first that is a URL is the referrer, and the first that is neither a URL,
// nor a dash, nor a bare number or address (X-Forwarded-For) is the user agent. Where both could be either, the order is as
// above. Further columns, quoted or not, are left alone.
//
// Source: http://www.squid-cache.org/Doc/config/logformat/.
type squidExtended struct {
	native squidNative
	common squidCommon
}

func (f *squidExtended) read(b []byte, e *Event, s *scratch) (Reason, string) {
	b = trimLeft(b)
	if _, n, _ := epoch(b); n == 0 || n < len(b) && b[n] != ' ' {
		return f.common.read(b, e, s)
	}
	if reason, field := f.native.read(b, e, s); reason != "" {
		return reason, field
	}
	at := bytes.Index(b, []byte(` "`))
	if at < 0 {
		return "", ""
	}
	for i := at + 1; i < len(b); {
		switch b[i] {
		case ' ', '\t':
			i++
			continue
		case '"':
		default:
			// a bare column among the quoted ones
			_, i = token(b, i)
			continue
		}
		closing := quotedEnd(b, i+1)
		if closing < 0 {
			break
		}
		v := present(b[i+1 : closing])
		i = closing + 1
		switch {
		case v == nil:
		case e.Referrer == nil && (bytes.Contains(v[:min(len(v), 32)], []byte("://")) || starts(v, "about:")):
			e.Referrer = s.backslash(v)
		case e.UserAgent == nil && agentLike(v):
			e.UserAgent = s.backslash(v)
		}
	}
	return "", ""
}

// agentLike says whether b can be a user agent rather than addresses or a number: it has a letter that no hexadecimal number has.
func agentLike(b []byte) bool {
	for _, c := range b {
		if c |= 0x20; c > 'f' && c <= 'z' {
			return true
		}
	}
	return false
}

func (f *squidExtended) origins() []Origin {
	return append(f.native.origins(), Origin{"http.request.referrer", `"%{Referer}>h"`}, Origin{"user_agent.original", `"%{User-Agent}>h"`})
}

func squidExtendedFormat() format {
	return format{
		FormatInfo: FormatInfo{
			Name: "squid_extended", About: "Squid log with added columns: native or combined with quoted ones by itself, any with its logformat", Kind: Web,
			Takes: []string{NeedLogformat, NeedZone},
		},
		bareFirst: true,
		build: func(o Options) (lineFormat, error) {
			if o.Logformat != "" {
				return compileLogformat(o.Logformat, o.Zone)
			}
			return &squidExtended{}, nil
		},
	}
}
