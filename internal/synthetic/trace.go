package synthetic

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// m365_message_trace_json is Microsoft 365's message trace as Get-MessageTraceV2 has it, an object for each recipient of a
// message. m365_message_trace_csv is the admin center's enhanced summary, a row for each message, in UTF-8 (the download is in
// UTF-16). As windows that are asked for overlap, some rows come twice.
//
// Sources: https://learn.microsoft.com/powershell/module/exchange/get-messagetracev2 and
// https://learn.microsoft.com/exchange/monitoring/trace-an-email-message/message-trace-modern-eac.
func newTraceJSON(*time.Location) func(*Message, func(int64, int, []byte)) {
	return func(m *Message, row func(int64, int, []byte)) {
		for i, to := range m.To {
			line := time.UnixMilli(m.Time).UTC().AppendFormat(nil, `{"Received":"2006-01-02T15:04:05.0000000Z"`)
			line = appendMember(line, "SenderAddress", m.sender())
			line = appendMember(line, "RecipientAddress", to)
			line = appendMember(line, "Subject", m.Subject)
			status := "Delivered"
			if m.failed[i] {
				status = "Failed"
			}
			line = appendMember(line, "Status", status)
			line = append(line, `,"ToIP":null`...)
			line = appendMember(line, "FromIP", m.source)
			line = appendCount(line, "Size", m.Bytes)
			line = appendMember(line, "MessageId", "<"+m.ID+">")
			line = appendMember(line, "MessageTraceId", m.Network)
			line = append(line, '}')
			row(m.Time, int(m.number), line)
			if m.number%50 == 7 {
				row(m.within(m.Time+600_000), int(m.number), line)
			}
		}
	}
}

func traceHeader() [][]byte {
	return [][]byte{[]byte("origin_timestamp,sender_address,recipient_status,message_subject,total_bytes,message_id,network_message_id," +
		"original_client_ip,directionality,connector_id,delivery_priority")}
}

func newTraceCSV(*time.Location) func(*Message, func(int64, int, []byte)) {
	return func(m *Message, row func(int64, int, []byte)) {
		var status []string
		for i, to := range m.To {
			if m.failed[i] {
				status = append(status, to+"##Receive, Fail")
			} else {
				status = append(status, to+"##Receive, Deliver")
			}
		}
		direction := "1"
		if m.from.person >= 0 {
			direction = "2"
		}
		line := time.UnixMilli(m.Time).UTC().AppendFormat(nil, `"2006-01-02T15:04:05.000Z"`)
		for _, f := range []string{
			m.sender(), strings.Join(status, ";"), m.subject(), strconv.FormatInt(m.Bytes, 10), "<" + m.ID + ">", m.Network, m.source, direction, "", "Normal",
		} {
			line = append(line, `,"`...)
			line = appendDoubled(line, f)
			line = append(line, '"')
		}
		row(m.Time, int(m.number), line)
		if m.number%50 == 7 {
			row(m.within(m.Time+600_000), int(m.number), line)
		}
	}
}

// rspamd_json is the history of rspamd, an object for each message that it looked at.
//
// Source: https://docs.rspamd.com/modules/history_redis/.
func newRspamdJSON(*time.Location) func(*Message, func(int64, int, []byte)) {
	return func(m *Message, row func(int64, int, []byte)) {
		line := fmt.Appendf(nil, `{"unix_time":%d.%03d,"time_real":0.21,"scan_time":0.21,"score":1.5,"required_score":15`, m.Time/1000, m.Time%1000)
		line = appendMember(line, "ip", m.source)
		line = appendMember(line, "action", []string{"no action", "no action", "add header", "no action"}[m.number%4])
		line = appendMember(line, "sender_smtp", m.From)
		line = appendMember(line, "sender_mime", m.From)
		line = append(line, `,"rcpt_smtp":[`...)
		for i, to := range m.To {
			if i > 0 {
				line = append(line, ',')
			}
			line = appendJSON(line, to)
		}
		line = append(line, `],"rcpt_mime":[]`...)
		line = appendMember(line, "subject", m.Subject)
		line = appendMember(line, "message-id", m.ID)
		line = appendCount(line, "size", m.Bytes)
		row(m.Time, int(m.number), append(line, `,"user":"unknown","is_skipped":false}`...))
	}
}

// newMailNDJSON writes ndjson_mail: an object for each message with the names of the Elastic Common Schema.
//
// Source: https://www.elastic.co/docs/reference/ecs/ecs-email.
func newMailNDJSON(*time.Location) func(*Message, func(int64, int, []byte)) {
	return func(m *Message, row func(int64, int, []byte)) {
		line := time.UnixMilli(m.Time).UTC().AppendFormat(nil, `{"@timestamp":"2006-01-02T15:04:05.000Z","event":{"outcome":"success"}`)
		line = append(line, `,"source":{"ip":"`+m.source+`","bytes":`...)
		line = strconv.AppendInt(line, m.Bytes, 10)
		line = append(line, `},"email":{"from":{"address":`...)
		line = appendJSON(line, m.From)
		line = append(line, `},"to":{"address":[`...)
		for i, to := range m.To {
			if i > 0 {
				line = append(line, ',')
			}
			line = appendJSON(line, to)
		}
		line = append(line, `]}`...)
		line = appendMember(line, "subject", m.Subject)
		line = appendMember(line, "message_id", m.ID)
		row(m.Time, int(m.number), append(line, "}}"...))
	}
}
