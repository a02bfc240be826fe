package parse

// zscalerNSSJSON reads the web log that Zscaler's Nanolog Streaming Service (a virtual machine, or the cloud's own) sends as
// JSON: {"sourcetype":"zscalernss-web","event":{…}}, or the same fields without that frame, one object a line or many in an
// array. Field names are compared without case. Records of Zscaler's other logs (firewall, DNS, tunnel) are passed over.
// What a field is, is said at zscalerReader.
//
// Sources: https://help.zscaler.com/zia/nss-feed-output-format-web-logs and
// https://help.zscaler.com/zia/about-cloud-nss-feeds.
type zscalerNSSJSON struct {
	zscalerReader
	object *jsonObject
	memory *scratch
	value  func(slot jsonSlot) []byte
}

func newZscalerNSSJSON(o Options) (jsonFormat, error) {
	f := &zscalerNSSJSON{zscalerReader: zscalerReader{stamps: newStampReader(o.Zone)}}
	f.value = func(slot jsonSlot) []byte { return f.object.text(slot, f.memory) }
	return f, nil
}

func (f *zscalerNSSJSON) schema() jsonSchema {
	return jsonSchema{slots: zscalerSlots(), through: map[string]bool{"event": true}, folded: true}
}

func (f *zscalerNSSJSON) fill(o *jsonObject, e *Event, s *scratch) (Reason, string) {
	f.object, f.memory = o, s
	return f.zscalerReader.fill(f.value, e, s)
}

func (f *zscalerNSSJSON) origins() []Origin {
	return zscalerOrigins(zscalerField)
}

// zscalerField answers NSS's own name of what a slot is read from.
func zscalerField(slot jsonSlot) string {
	return [zSlots]string{
		zTime: "%s{time}", zEpoch: "%d{epochtime}", zZone: "%s{tz}", zLogin: "%s{login}", zHiddenLogin: "%s{ologin}", zURL: "%s{url}",
		zHost: "%s{host}", zProtocol: "%s{proto}", zAction: "%s{action}", zStatus: "%s{respcode}", zRequestSize: "%d{reqsize}",
		zResponseSize: "%d{respsize}", zTotalSize: "%d{totalsize}", zMethod: "%s{reqmethod}", zContentType: "%s{contenttype}",
		zClient: "%s{cip}", zInternalClient: "%s{cintip}", zClientPort: "%d{clt_sport}", zServer: "%s{sip}", zUserAgent: "%s{ua}",
		zReferer: "%s{referer}", zDuration: "%d{ctime}",
	}[slot]
}

func zscalerNSSJSONFormat() format {
	return format{
		FormatInfo: FormatInfo{Name: "zscaler_nss_json", About: "Zscaler web log from an NSS feed, JSON", Kind: Web, Takes: []string{NeedZone}},
		document:   newZscalerNSSJSON,
	}
}
