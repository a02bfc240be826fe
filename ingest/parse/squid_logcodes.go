package parse

import "strings"

// A slot is a value that a compiled logformat keeps of a line.
type slot uint8

const (
	skipped slot = iota // read past, not kept
	slotSeconds
	slotSubsecond
	slotStart
	slotTime
	slotDuration
	slotClient
	slotClientName
	slotClientPort
	slotServer
	slotUserName
	slotUserLogin
	slotUserExternal
	slotUserSSL
	slotUserIdent
	slotCredentials
	slotStatus
	slotBytesDown
	slotBytesUp
	slotMethod
	slotURL
	slotScheme
	slotHost
	slotPort
	slotPath
	slotSNI
	slotHostHeader
	slotReferrer
	slotUserAgent
	slotResult
	slotHierarchy
	slotMIME
	slots
)

// userSlots are the names a line can give for its user, the best first: %un is "any available" already.
func userSlots() [6]slot {
	return [6]slot{slotUserName, slotUserLogin, slotUserExternal, slotUserSSL, slotUserIdent, slotCredentials}
}

// field answers the ECS name of what a slot becomes, for rejects and explanations; "" where it becomes nothing by itself.
func (s slot) field() string {
	switch s {
	case slotSeconds, slotSubsecond, slotStart, slotTime:
		return "@timestamp"
	case slotDuration:
		return "event.duration"
	case slotClient, slotClientName:
		return "source.ip"
	case slotClientPort:
		return "source.port"
	case slotServer, slotHierarchy:
		return "destination.ip"
	case slotUserName, slotUserLogin, slotUserExternal, slotUserSSL, slotUserIdent, slotCredentials:
		return "user.name"
	case slotStatus:
		return "http.response.status_code"
	case slotBytesDown:
		return "destination.bytes"
	case slotBytesUp:
		return "source.bytes"
	case slotMethod:
		return "http.request.method"
	case slotURL, slotHost, slotSNI, slotHostHeader:
		return "url.domain"
	case slotScheme:
		return "url.scheme"
	case slotPort:
		return "url.port"
	case slotPath:
		return "url.path"
	case slotReferrer:
		return "http.request.referrer"
	case slotUserAgent:
		return "user_agent.original"
	case slotResult:
		return "event.action"
	case slotMIME:
		return "http.response.mime_type"
	}
	return ""
}

// A shape is what the text of a code can look like.
type shape uint8

const (
	word     shape = iota // no spaces
	number                // digits, perhaps with a sign, or "-"
	host                  // a word that may hold colons: an address, a name, host:port
	text                  // may hold spaces
	instant               // a strftime time
	decimals              // digits, perhaps with a point and more digits
)

// A logCode is one %code of Squid's logformat.
type logCode struct {
	name  string
	slot  slot
	shape shape
	rank  uint8 // where several codes of a format fill a slot, the lowest rank does
}

// logCodes are all codes that Squid's documentation names, from version 2.6 to 7, the http:: prefix left out. Codes of the
// other name spaces keep theirs.
//
// Source: http://www.squid-cache.org/Doc/config/logformat/ and src/format/Token.cc.
func logCodes() []logCode {
	return []logCode{
		{"ts", slotSeconds, number, 0}, {"tu", slotSubsecond, number, 0}, {"tl", slotTime, instant, 0}, {"tg", slotTime, instant, 1},
		{"tS", slotStart, word, 0}, {"tr", slotDuration, number, 0}, {"dt", skipped, number, 0}, {"busy_time", skipped, word, 0},
		{"<pt", skipped, number, 0}, {"<tt", skipped, number, 0}, {"sn", skipped, number, 0},

		{">a", slotClient, host, 0}, {">A", slotClientName, host, 0}, {">p", slotClientPort, number, 0}, {">eui", skipped, host, 0},
		{">la", skipped, host, 0}, {">lp", skipped, number, 0}, {"la", skipped, host, 0}, {"lp", skipped, number, 0}, {"lA", skipped, host, 0},
		{"<a", slotServer, host, 0}, {"<A", slotServer, host, 1}, {"<p", skipped, number, 0}, {"<la", skipped, host, 0}, {"<lp", skipped, number, 0},
		{"oa", skipped, host, 0}, {">qos", skipped, word, 0}, {"<qos", skipped, word, 0}, {">nfmark", skipped, word, 0}, {"<nfmark", skipped, word, 0},
		{">handshake", skipped, word, 0}, {"transport::>connection_id", skipped, word, 0}, {"master_xaction", skipped, word, 0},

		{"un", slotUserName, text, 0}, {"ul", slotUserLogin, text, 0}, {"ue", slotUserExternal, text, 0}, {"us", slotUserSSL, text, 0},
		{"ui", slotUserIdent, text, 0}, {"credentials", slotCredentials, text, 0}, {"et", skipped, text, 0}, {"ea", skipped, text, 0},

		{">Hs", slotStatus, number, 0}, {"Hs", slotStatus, number, 1}, {"<Hs", slotStatus, number, 2},
		{"<st", slotBytesDown, number, 0}, {">st", slotBytesUp, number, 0}, {"st", skipped, number, 0},
		{">sh", skipped, number, 0}, {"<sh", skipped, number, 0}, {"<sH", skipped, number, 0}, {"<sS", skipped, number, 0}, {"<bs", skipped, number, 0},
		{">rm", slotMethod, word, 0}, {"rm", slotMethod, word, 1}, {"<rm", slotMethod, word, 2},
		{">ru", slotURL, text, 0}, {"ru", slotURL, text, 1}, {"<ru", slotURL, text, 2},
		{">rs", slotScheme, word, 0}, {"rs", slotScheme, word, 1}, {"<rs", slotScheme, word, 2},
		{">rd", slotHost, host, 0}, {"rd", slotHost, host, 1}, {"<rd", slotHost, host, 2},
		{">rP", slotPort, number, 0}, {"rP", slotPort, number, 1}, {"<rP", slotPort, number, 2},
		{">rp", slotPath, text, 0}, {"rp", slotPath, text, 1}, {"<rp", slotPath, text, 2},
		{">rv", skipped, word, 0}, {"rv", skipped, word, 0}, {"<rv", skipped, word, 0}, {">v", skipped, word, 0}, {"rG", skipped, word, 0},
		{">h", skipped, text, 0}, {"<h", skipped, text, 0}, {">ha", skipped, text, 0}, {"mt", slotMIME, word, 0},
		{"request_attempts", skipped, number, 0},

		{"Ss", slotResult, word, 0}, {"Sh", slotHierarchy, word, 0}, {"err_code", skipped, word, 0}, {"err_detail", skipped, word, 0}, {"note", skipped, text, 0},

		{"ssl::>sni", slotSNI, host, 0}, {"ssl::bump_mode", skipped, word, 0}, {"ssl::>cert_subject", skipped, text, 0}, {"ssl::>cert_issuer", skipped, text, 0},
		{"ssl::<cert_subject", skipped, text, 0}, {"ssl::<cert_issuer", skipped, text, 0}, {"ssl::<cert_errors", skipped, text, 0}, {"ssl::<cert", skipped, text, 0},
		{"ssl::>negotiated_version", skipped, word, 0}, {"ssl::<negotiated_version", skipped, word, 0},
		{"ssl::>negotiated_cipher", skipped, word, 0}, {"ssl::<negotiated_cipher", skipped, word, 0},
		{"ssl::>received_hello_version", skipped, word, 0}, {"ssl::<received_hello_version", skipped, word, 0},
		{"ssl::>received_supported_version", skipped, word, 0}, {"ssl::<received_supported_version", skipped, word, 0},

		{"adapt::all_trs", skipped, text, 0}, {"adapt::sum_trs", skipped, text, 0}, {"adapt::<last_h", skipped, text, 0},
		{"icap::tt", skipped, number, 0}, {"icap::<last_h", skipped, text, 0}, {"icap::<A", skipped, host, 0}, {"icap::<service_name", skipped, text, 0},
		{"icap::ru", skipped, word, 0}, {"icap::rm", skipped, word, 0}, {"icap::>st", skipped, number, 0}, {"icap::<st", skipped, number, 0},
		{"icap::<bs", skipped, number, 0}, {"icap::>h", skipped, text, 0}, {"icap::<h", skipped, text, 0}, {"icap::tr", skipped, number, 0},
		{"icap::tio", skipped, number, 0}, {"icap::to", skipped, word, 0}, {"icap::Hs", skipped, number, 0},
		{"proxy_protocol::>h", skipped, text, 0},
	}
}

// findLogCode answers the code at the beginning of spec, which may carry an http:: or tls:: prefix, and how many bytes of
// spec it is. As in Squid the longest name wins: %>ha is not %>h and a letter.
func findLogCode(spec string) (code logCode, n int) {
	prefix := 0
	switch {
	case strings.HasPrefix(spec, "http::"):
		prefix = len("http::")
		spec = spec[prefix:]
	case strings.HasPrefix(spec, "tls::"):
		// tls:: is the newer name of ssl::, of the same length
		spec = "ssl" + spec[len("tls"):]
	}
	for _, each := range logCodes() {
		if len(each.name) > n && strings.HasPrefix(spec, each.name) {
			code, n = each, len(each.name)
		}
	}
	if n == 0 {
		return logCode{}, 0
	}
	return code, n + prefix
}

// headerCode answers what the header that {argument} names becomes: %{Referer}>h is the referrer.
func headerCode(code logCode, argument string) logCode {
	header, element, _ := strings.Cut(argument, ":")
	if element != "" {
		return code
	}
	switch {
	case code.name == ">h" || code.name == ">ha":
		switch strings.ToLower(header) {
		case "referer":
			code.slot = slotReferrer
		case "user-agent":
			code.slot = slotUserAgent
		case "host":
			code.slot = slotHostHeader
		}
		if code.name == ">ha" {
			code.rank = 1
		}
	case code.name == "<h" && strings.EqualFold(header, "content-type"):
		code.slot, code.rank = slotMIME, 1
	}
	return code
}
