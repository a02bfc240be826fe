package parse

// squid_syslog is Squid's native line behind a syslog header, as access_log syslog:... or a forwarder writes it:
//
//	<182>Feb 27 09:22:03 golden squid[32525]: 1330330923.254 119 10.10.5.5 TCP_MISS/302 667 GET http://...
//
// The time is the line's own, not the header's. Every other line format is read behind a syslog header too, and a bare
// line is read as well: the name says what to expect, and is kept for configurations that want to say so.
//
// Source: http://www.squid-cache.org/Doc/config/access_log/ and RFC 3164, RFC 5424.
func squidSyslogFormat() format {
	return format{
		FormatInfo: FormatInfo{Name: "squid_syslog", About: "Squid access.log, native, behind a syslog header (RFC 3164 or 5424)", Kind: Web},
		build:      func(Options) (lineFormat, error) { return squidNative{}, nil },
	}
}
