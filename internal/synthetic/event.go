package synthetic

import "strconv"

// An Event is one request as the proxy saw it, with everything that is true about it. It is what encoders write and what
// the truth is computed from. The fields that a log line can carry have the meaning of their names in the Elastic Common
// Schema.
type Event struct {
	Time     int64 // end of the request: milliseconds since 1970-01-01 UTC
	Duration int64 // milliseconds

	Person     *Person // who made it; nil for a machine
	Subject    string  // whom it counts for: canonical user name, else source address
	Tenant     string  // as the directory has it for Subject
	Population string
	Unit       string

	SourceIP   string
	SourcePort int
	User       string // as the proxy saw it, in UTF-8 or ISO 8859-1; empty for none

	Method    string
	Scheme    string // "http" or "https"; empty for CONNECT
	Host      *Host
	Referrer  *Host // nil for none
	UserAgent string
	Status    int
	Result    string // Squid's result code, such as TCP_MISS
	Blocked   bool
	MIME      string // empty for none
	BytesIn   int64  // destination.bytes: to the client
	BytesOut  int64  // source.bytes: from the client
	ServerIP  string // destination.ip; empty where the proxy spoke to no server
	Country   string // of ServerIP
	Category  string // of Host
	Class     string
	Visit     bool // whether it makes an active slot

	Shard int    // 0 to Config.Shards-1, the same for every event of a subject
	Bad   string // how a malformed line is malformed: one of BadReasons; empty for a good one

	path   *path
	number uint32
}

// How malformed lines are malformed. These are groups of faults, not the words of any parser.
const (
	BadForeign   = "foreign"   // a line of another log
	BadTruncated = "truncated" // a line cut short
	BadNUL       = "nul"       // a line with a zero byte in it
	BadNegative  = "negative"  // a negative size
	BadTime      = "time"      // a readable line of a year long past or far ahead
)

// BadReasons answers all of them.
func BadReasons() []string {
	return []string{BadForeign, BadTruncated, BadNUL, BadNegative, BadTime}
}

// AppendPath appends the path with its query.
func (e *Event) AppendPath(dst []byte) []byte {
	dst = append(dst, e.path.prefix...)
	if e.path.numbered {
		dst = strconv.AppendUint(dst, uint64(e.number), 10)
	}
	return append(dst, e.path.suffix...)
}

// AppendURL appends the request target as a proxy logs it: an absolute URL, or host:443 for CONNECT.
func (e *Event) AppendURL(dst []byte) []byte {
	if e.Scheme == "" {
		dst = append(dst, e.Host.authority...)
		return append(dst, ":443"...)
	}
	dst = append(dst, e.Scheme...)
	dst = append(dst, "://"...)
	dst = append(dst, e.Host.authority...)
	return e.AppendPath(dst)
}

// A path is a pattern of what is asked for, with what usually comes back.
type path struct {
	prefix, suffix string
	numbered       bool
	method, mime   string
	size           uint32 // typical bytes to the client
	sent           uint32 // typical bytes from the client
}

func paths(kind int) []path {
	switch kind {
	case pathPage:
		return []path{
			{"/", "", false, "GET", "text/html", 60_000, 700},
			{"/a/", "", true, "GET", "text/html", 90_000, 800},
			{"/nyheter/artikel-", ".html", true, "GET", "text/html", 110_000, 900},
			{"/sok?q=", "&sida=1", true, "GET", "text/html", 40_000, 800},
			{"/produkt/", "?ref=start", true, "GET", "text/html", 70_000, 900},
			{"/api/v2/items/", "", true, "GET", "application/json", 6_000, 1_000},
			{"/formul%C3%A4r/", "/skicka", true, "POST", "text/html", 9_000, 6_000},
		}
	case pathAsset:
		return []path{
			{"/static/js/app.", ".js", true, "GET", "application/javascript", 80_000, 600},
			{"/static/css/main.", ".css", true, "GET", "text/css", 30_000, 600},
			{"/images/", ".jpg", true, "GET", "image/jpeg", 45_000, 600},
			{"/images/", ".webp?w=640", true, "GET", "image/webp", 25_000, 600},
			{"/fonts/sans.woff2", "", false, "GET", "font/woff2", 40_000, 600},
			{"/graphql", "", false, "POST", "application/json", 8_000, 3_000},
		}
	}
	return []path{
		{"/pixel.gif?id=", "", true, "GET", "image/gif", 350, 900},
		{"/collect?v=2&tid=G-", "&en=page_view", true, "POST", "", 300, 2_200},
		{"/tag/js/gpt.js", "", false, "GET", "text/javascript", 28_000, 800},
		{"/bid?r=", "", true, "POST", "application/json", 1_800, 4_000},
		{"/lib/", "/bundle.min.js", true, "GET", "application/javascript", 50_000, 600},
		{"/usersync?uid=", "&gdpr=1", true, "GET", "text/html", 900, 1_200},
	}
}

const (
	pathPage = iota
	pathAsset
	pathBackground
	pathKinds
)

// An outcome is what the proxy and the server made of a request.
type outcome struct {
	result  string
	status  int
	server  bool // whether the proxy spoke to the server
	share   uint32
	percent uint32 // of the typical size
}

// The first outcomes have places of their own; from outcomeFirst on they are drawn by share.
const (
	outcomeTunnel = iota
	outcomeTunnelFailed
	outcomeChallenge
	outcomeDenied
	outcomeFirst
)

func outcomes() []outcome {
	return []outcome{
		{"TCP_TUNNEL", 200, true, 0, 100},
		{"TAG_NONE", 503, false, 0, 0},
		{"TCP_DENIED", 407, false, 0, 100},
		{"TCP_DENIED", 403, false, 0, 100},
		{"TCP_MISS", 200, true, 860, 100},
		{"TCP_MISS", 304, true, 20, 1},
		{"TCP_HIT", 200, false, 20, 100},
		{"TCP_MEM_HIT", 200, false, 15, 100},
		{"TCP_REFRESH_UNMODIFIED", 304, true, 20, 1},
		{"TCP_MISS", 302, true, 20, 1},
		{"TCP_MISS", 204, true, 15, 0},
		{"TCP_MISS", 404, true, 14, 10},
		{"TCP_MISS", 403, true, 5, 5},
		{"TCP_MISS", 500, true, 4, 5},
		{"TCP_MISS", 503, false, 3, 6},
		{"TCP_MISS_ABORTED", 0, true, 4, 0},
	}
}

func userAgents() []string {
	const windows = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) "
	return []string{
		windows + "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
		windows + "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:143.0) Gecko/20100101 Firefox/143.0",
		"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36",
		"Mozilla/5.0 (iPad; CPU OS 17_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.6 Mobile/15E148 Safari/604.1",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15",
		"Mozilla/5.0 (Linux; Android 14; \"Läsplatta\") AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Mobile Safari/537.36",
		"Microsoft-CryptoAPI/10.0",
	}
}
