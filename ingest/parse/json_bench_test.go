package parse

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func zscalerJSONLines() []string {
	const line = `{"sourcetype":"zscalernss-web","event":{"datetime":"2026-10-09 08:21:22","reason":"Allowed","event_id":"71293456789012@@@@","protocol":"HTTPS","action":"Allowed","transactionsize":"12345","responsesize":"11000","requestsize":"1345","urlcategory":"News and Media","serverip":"192.0.2.10","requestmethod":"GET","refererURL":"www.example.se/start","useragent":"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36","product":"NSS","location":"Road Warrior","ClientIP":"10.20.30.%d","status":"200","user":"anna.berg@example.se","url":"www.example.se/nyheter/artikel.html?sida=2","vendor":"Zscaler","hostname":"www.example.se","clientpublicIP":"198.51.100.7","threatcategory":"None","threatname":"None","filetype":"None","appname":"General Browsing","pagerisk":"0","department":"Skola","urlsupercategory":"News and Media","appclass":"General Browsing","dlpengine":"None","urlclass":"Business Use","threatclass":"None","dlpdictionaries":"None","fileclass":"None","bwthrottle":"NO","contenttype":"text/html","unscannabletype":"None","deviceowner":"anna","devicehostname":"PC123"}}`
	return []string{fmt.Sprintf(line, 40), fmt.Sprintf(line, 41), fmt.Sprintf(line, 42)}
}

func ecsLines() []string {
	return []string{
		`{"@timestamp":"2026-10-09T08:21:22.@@@@Z","source":{"ip":"10.20.30.40","port":50123},"user":{"name":"anna.berg"},"http":{"request":{"method":"GET"},"response":{"status_code":200,"mime_type":"text/html"}},"url":{"scheme":"https","domain":"www.example.se","path":"/nyheter","query":"sida=2","port":443},"event":{"action":"allowed","duration":184000000},"destination":{"ip":"192.0.2.10","bytes":1000}}`,
		`{"@timestamp":"2026-10-09T08:21:23.@@@@Z","source.ip":"10.20.30.41","user.name":"EXAMPLE\\bertil","url.full":"https://www.example.org/a/b?c=d","event.action":"denied","http.response.status_code":403}`,
	}
}

func traceLines() []string {
	return []string{
		`{"Organization":"example.onmicrosoft.com","MessageId":"\u003ca1@EUR01.prod.outlook.com\u003e","Received":"2026-10-09T08:21:22.1234567","SenderAddress":"anna.berg@example.se","RecipientAddress":"erik@example.net","Subject":"Möte, torsdag","Status":"Delivered","ToIP":"203.0.113.25","FromIP":"198.51.100.7","Size":14061,"MessageTraceId":"3d2d2d2d-0000-4000-8000-00000000@@@@"}`,
	}
}

func entraLines() []string {
	return []string{
		`{"time":"2026-10-09T08:21:22.@@@@Z","category":"NetworkAccessTrafficLogs","properties":{"action":"Allow","connectionId":"c1","createdDateTime":"2026-10-09T08:21:20Z","destinationFQDN":"www.example.se","destinationIp":"192.0.2.10","destinationPort":443,"destinationUrl":"https://www.example.se/nyheter?sida=2","headers":{"referrer":"https://start.example.se/"},"receivedBytes":11000,"sentBytes":1345,"responseCode":200,"sessionId":"s1","sourceIp":"198.51.100.7","sourcePort":50123,"trafficType":"internet","userPrincipalName":"anna.berg@example.se"}}`,
	}
}

func rspamdLines() []string {
	return []string{
		`{"size":4711,"unix_time":179153@@@@,"action":"no action","score":-1.5,"message-id":"a1@example.org","sender_smtp":"david@example.org","rcpt_smtp":["anna.berg@example.se","bertil@example.se"],"subject":"Räkning","ip":"203.0.113.9","user":"unknown","symbols":{"R_SPF_ALLOW":{"score":0,"options":["+ip4:203.0.113.0/24"]},"DMARC_POLICY_ALLOW":{"score":-0.5,"options":["example.org","none"]},"MIME_GOOD":{"score":-0.1}}}`,
	}
}

func BenchmarkZscalerNSSJSON(b *testing.B) {
	benchmarkLines(b, Options{Format: "zscaler_nss_json"}, zscalerJSONLines())
}

func BenchmarkZscalerNSSText(b *testing.B) {
	benchmarkLines(b, Options{Format: "zscaler_nss_text"}, []string{
		`"Fri Oct  9 08:21:22 2026","anna.berg@example.se","HTTPS","www.example.se/@@@@/a%2Cb.html?sida=2","Allowed","General Browsing","General Browsing","1345","11000","35","184","Business Use","News and Media","News and Media","None","None","0","None","None","Stadshuset","Skola","10.20.30.40","192.0.2.10","GET","200","Mozilla/5.0 (X11; Linux x86_64)","www.example.se/start","None","None","text/html","None","anna","PC123","N/A"`,
	})
}

func BenchmarkZscalerNSSTab(b *testing.B) {
	benchmarkLines(b, Options{Format: "zscaler_nss_text", Logformat: `%d{epochtime}\t%s{login}\t%s{url}\t%s{action}\t%d{reqsize}\t%d{respsize}\t%s{reqmethod}\t%s{respcode}\t%s{cip}\t%s{sip}`}, []string{
		"179153@@@@\tanna.berg@example.se\twww.example.se/nyheter?sida=2\tAllowed\t1345\t11000\tGET\t200\t10.20.30.40\t192.0.2.10",
	})
}

func BenchmarkEntraGSAJSON(b *testing.B) {
	benchmarkLines(b, Options{Format: "entra_gsa_json"}, entraLines())
}

func BenchmarkVMwareCWSJSON(b *testing.B) {
	benchmarkLines(b, Options{Format: "vmware_cws_json"}, []string{
		`{"cws_timestamp": "2026-10-09T08:21:22.@@@@Z", "userId": "anna.berg@example.se", "url": "https://www.example.se/nyheter?sida=2", "domain": "www.example.se", "categories": "News", "threatTypes": null, "webRiskScore": "G", "action": "allow", "userAgent": "Mozilla/5.0", "requestMethod": "GET", "egressIp": "NA", "destinationIp": "192.0.2.10", "dnsResponse": ["192.0.2.10", "192.0.2.11"], "sourceIp": "10.20.30.40", "contentType": "text/html", "responseCode": "200", "protocol": "https", "region": "lhr4", "ruleMatched": "Default", "fileHash": null, "fileSize": "0"}`,
	})
}

func BenchmarkNDJSON(b *testing.B) { benchmarkLines(b, Options{Format: "ndjson"}, ecsLines()) }

func BenchmarkRspamdJSON(b *testing.B) {
	benchmarkLines(b, Options{Format: "rspamd_json"}, rspamdLines())
}

func BenchmarkM365MessageTraceJSON(b *testing.B) {
	benchmarkLines(b, Options{Format: "m365_message_trace_json"}, traceLines())
}

func BenchmarkM365MessageTraceCSV(b *testing.B) {
	benchmarkLines(b, Options{Format: "m365_message_trace_csv"}, []string{
		`2026-10-09T08:21:22.1234567Z,erik@example.net,"anna.berg@example.se##Receive, Deliver;bertil@example.se##Receive, Deliver","Offert, version 2",14061,<a1@example.net>,1341ac7b13fb42ab4d4408cf7f55@@@@,203.0.113.25,1,,Normal`,
	})
}

func BenchmarkFilebeatSquidNative(b *testing.B) {
	var lines []string
	for _, line := range nativeLines() {
		lines = append(lines, `{"@timestamp":"2026-10-09T08:21:22.000Z","host":{"name":"proxy1"},"log":{"file":{"path":"/var/log/squid/access.log"},"offset":1234},"message":"`+line+`"}`)
	}
	benchmarkLines(b, Options{Format: "squid_native"}, lines)
}

// TestJSONAllocates holds that the JSON formats allocate nothing per line once they have seen one.
func TestJSONAllocates(t *testing.T) {
	for format, lines := range map[string][]string{
		"zscaler_nss_json": zscalerJSONLines(), "ndjson": ecsLines(), "entra_gsa_json": entraLines(), "rspamd_json": rspamdLines(),
	} {
		p := mustNew(t, Options{Format: format, Zone: time.UTC})
		record := []byte(strings.ReplaceAll(lines[0], "@@@@", "0001"))
		event, reject := func(*Event) {}, func(r Reject) {}
		p.Parse(record, event, reject)
		if n := testing.AllocsPerRun(200, func() { p.Parse(record, event, reject) }); n > 0 {
			t.Errorf("%s: %.1f allocations a line", format, n)
		}
	}
}
