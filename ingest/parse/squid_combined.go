package parse

// squid_combined is Squid's logformat combined: common with referrer and user agent. Both are backslash-escaped in the
// line ("\"" and "\\"), and read back. A common line among them is read as one: see squidCommon, which reads both.
//
// Source: http://www.squid-cache.org/Doc/config/logformat/.
func squidCombinedFormat() format {
	return format{
		FormatInfo: FormatInfo{Name: "squid_combined", About: "Squid logformat combined (with referrer and user agent); reads common lines too", Kind: Web},
		build:      func(Options) (lineFormat, error) { return &squidCommon{}, nil },
	}
}
