package synthetic

import (
	"strconv"
	"time"
)

// A Format is a log format that a municipality can write. What its lines can't say, no reader of it can know: Truth has 0
// there, and counts by what is left.
type Format struct {
	Name string
	// Reader is the name by which the format is known to tillsyn: Name without "_mail".
	Reader string
	// Mail says that its lines are about messages and not about requests.
	Mail bool
	// Whole says that times are whole seconds.
	Whole bool
	// UTC says that its lines name local times without a zone, and that the clock of what writes them runs in UTC.
	UTC bool
	// Text says that its lines are always UTF-8: a name in ISO 8859-1 is converted.
	Text bool
	// Spec is the logformat line or the feed template that describes it to a reader, and Layout the name of its column
	// layout; empty where the name says it all.
	Spec, Layout string

	// Server says whether lines carry the server's address: without it every country is CountryUnknown.
	Server bool
	// Sent and Received say whether lines carry the bytes from and to the client: without them these are 0.
	Sent, Received bool
	// Status says whether lines carry the HTTP status: without it a challenge (407) can't be told from a visit.
	Status bool
	// Verdict says whether lines tell what was blocked: without it nothing is.
	Verdict bool
	// New answers an encoder, which appends one Event to dst as one line without line end. An encoder keeps the texts of
	// the second it is in, so each run needs its own. Local times are written in zone. It is nil for mail.
	New func(zone *time.Location) func(dst []byte, e *Event) []byte

	// Subject says whether lines carry the subject of a message: without it there are no identity numbers in it and
	// nothing sensitive.
	Subject bool
	// Rule says whether lines tell that a rule forwarded a message: without it it is as if its owner had.
	Rule bool
	// Header answers what each file begins with, nil for nothing; rows gives rise to the rows of one Message. Both are nil
	// for the formats of proxies.
	header func() [][]byte
	rows   func(zone *time.Location) func(m *Message, row func(at int64, host int, line []byte))
}

// Formats answers all formats, those of proxies first.
func Formats() []Format {
	web := Format{Server: true, Sent: true, Received: true, Status: true, Verdict: true}
	// of answers what web is, less what the format lacks
	of := func(name string, encoder func(*time.Location) func([]byte, *Event) []byte, less ...func(*Format)) Format {
		f := web
		f.Name, f.Reader, f.New = name, name, encoder
		for _, change := range less {
			change(&f)
		}
		return f
	}
	mail := func(name string, rows func(*time.Location) func(*Message, func(int64, int, []byte)), less ...func(*Format)) Format {
		f := Format{Name: name, Reader: name, Mail: true, Sent: true, Subject: true, rows: rows}
		for _, change := range less {
			change(&f)
		}
		return f
	}
	var (
		noServer  = func(f *Format) { f.Server = false }
		noSent    = func(f *Format) { f.Sent = false }
		noBytes   = func(f *Format) { f.Sent, f.Received = false, false }
		noStatus  = func(f *Format) { f.Status = false }
		noVerdict = func(f *Format) { f.Verdict = false }
		whole     = func(f *Format) { f.Whole = true }
		utc       = func(f *Format) { f.UTC, f.Whole = true, true }
		text      = func(f *Format) { f.Text = true }
		spec      = func(text string) func(*Format) { return func(f *Format) { f.Spec = text } }
		layout    = func(name string) func(*Format) { return func(f *Format) { f.Layout = name } }
		header    = func(lines func() [][]byte) func(*Format) { return func(f *Format) { f.header = lines } }
		rule      = func(f *Format) { f.Rule = true }
		noSubject = func(f *Format) { f.Subject = false }
	)
	return []Format{
		of("squid_native", newSquidNative, noSent),
		of("squid_syslog", newSquidSyslog, noSent),
		of("squid_common", newSquidCommon, noSent, noServer, whole),
		of("squid_combined", newSquidCombined, noSent, noServer, whole),
		of("squid_logformat", newSquidLogformat, spec(squidSpec)),
		of("squid_extended", newSquidExtended, noSent),
		of("bluecoat_w3c", newBluecoatW3C, whole, layout("main")),
		of("bluecoat_kv", newBluecoatKV),
		of("zscaler_nss_json", newZscalerJSON, utc, text),
		of("zscaler_nss_text", newZscalerText, utc, spec(zscalerFeed)),
		of("fortigate_kv", newFortigateKV, noStatus),
		of("panw_threat_url", newPanwThreatURL, utc, noBytes, noStatus),
		of("umbrella_proxy_csv", newUmbrellaProxyCSV, whole),
		of("cisco_wsa", newCiscoWSA, noSent),
		of("sophos_xg_kv", newSophosXGKV, whole),
		of("sophos_swa_kv", newSophosSWAKV, whole),
		of("forcepoint_web_csv", newForcepointWebCSV, utc, noBytes),
		of("entra_gsa_json", newEntraGSAJSON, text),
		of("vmware_cws_json", newVMwareCWSJSON, noBytes, text),
		of("squidguard", newSquidGuard, utc, noServer, noBytes, noStatus),
		of("dansguardian", newDansGuardian, utc, noServer, noSent),
		of("zeek_http_tsv", newZeekHTTP, noServer, noVerdict),
		of("ndjson", newNDJSON, text),
		mail("exchange_msgtrk_csv", newExchange, rule, header(exchangeHeader), layout("2019")),
		mail("exchange2003_msgtrk_tsv", newExchange2003, whole, header(exchange2003Header)),
		mail("postfix_syslog", newPostfix, noSubject),
		mail("m365_message_trace_json", newTraceJSON, text),
		mail("m365_message_trace_csv", newTraceCSV, header(traceHeader)),
		mail("rspamd_json", newRspamdJSON, text),
		mail("ndjson_mail", newMailNDJSON, text, func(f *Format) { f.Reader = "ndjson" }),
	}
}

// FormatNames answers the names of all formats.
func FormatNames() []string {
	var names []string
	for _, f := range Formats() {
		names = append(names, f.Name)
	}
	return names
}

// FormatByName answers the format of that name.
func FormatByName(name string) (Format, bool) {
	for _, f := range Formats() {
		if f.Name == name {
			return f, true
		}
	}
	return Format{}, false
}

// AppendLine appends e to dst in the format of an encoder; where e is malformed, as that kind of malformed line.
func AppendLine(dst []byte, e *Event, encode func([]byte, *Event) []byte) []byte {
	if e.Bad == "" {
		return encode(dst, e)
	}
	switch e.Bad {
	case BadForeign:
		return append(dst, "2026/10/11 09:14:49 kid1| Accepting HTTP Socket connections at local=[::]:3128 remote=[::] FD 11 flags=9"...)
	case BadTruncated:
		start := len(dst)
		dst = encode(dst, e)
		// Within the first fields of every format: no reader can make a request of what is left.
		return dst[:min(start+4+int(e.number%24), len(dst))]
	case BadNUL:
		start := len(dst)
		dst = encode(dst, e)
		dst[start+(len(dst)-start)/2] = 0
		return dst
	}
	return encode(dst, e)
}

// A clock keeps the text of the second it was asked for last.
type clock struct {
	zone   *time.Location
	layout string
	second int64
	text   []byte
}

func newClock(zone *time.Location, layout string) *clock {
	return &clock{zone: zone, layout: layout, second: -1}
}

func (c *clock) append(dst []byte, millis int64) []byte {
	if s := millis / 1000; s != c.second {
		c.second = s
		c.text = time.Unix(s, 0).In(c.zone).AppendFormat(c.text[:0], c.layout)
	}
	return append(dst, c.text...)
}

// A seconds writes times as seconds with three decimals, and keeps the digits of the second it was asked for last.
type seconds struct {
	second int64
	text   []byte
}

func (c *seconds) append(dst []byte, millis int64) []byte {
	if s := millis / 1000; s != c.second || c.text == nil {
		c.second = s
		c.text = strconv.AppendInt(c.text[:0], s, 10)
	}
	dst = append(dst, c.text...)
	ms := millis % 1000
	return append(dst, '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10))
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
