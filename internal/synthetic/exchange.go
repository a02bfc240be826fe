package synthetic

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// exchange_msgtrk_csv is the message tracking log of Exchange Server 2019 on two servers: ex01, which speaks with the outside,
// and ex02, which has the mailboxes. exchange2003_msgtrk_tsv is that of Exchange 2003, with a row for each recipient.
//
// A message from a mailbox is SUBMIT (ex02) and RECEIVE (ex01), one by an Inbox rule is MAILBOXRULE RECEIVE, one from outside is
// RECEIVE and, on the way to the mailbox, RECEIVE again on ex02. Lists are expanded (EXPAND) after the row that counts, where
// the list's own address stands. Then come SENDEXTERNAL, DELIVER, FAIL, and rows that tell of nothing.
//
// Sources: https://learn.microsoft.com/en-us/exchange/mail-flow/transport-logs/message-tracking and, for 2003,
// https://learn.microsoft.com/en-us/troubleshoot/exchange/mailflow/message-tracking-event-ids.
func exchangeHeader() [][]byte {
	return [][]byte{
		[]byte("\xef\xbb\xbf#Software: Microsoft Exchange Server"), []byte("#Version: 15.02.1118.021"), []byte("#Log-type: Message Tracking Log"),
		[]byte("#Date: 2026-01-01T00:00:00.000Z"),
		[]byte("#Fields: date-time,client-ip,client-hostname,server-ip,server-hostname,source-context,connector-id,source,event-id,internal-message-id," +
			"message-id,network-message-id,recipient-address,recipient-status,total-bytes,recipient-count,related-recipient-address,reference," +
			"message-subject,sender-address,return-path,message-info,directionality,tenant-id,original-client-ip,original-server-ip,custom-data," +
			"transport-traffic-type,log-id,schema-version"),
	}
}

func newExchange(*time.Location) func(*Message, func(int64, int, []byte)) {
	return func(m *Message, row func(int64, int, []byte)) {
		write := func(at int64, host int, context, source, event string, to, status []string, related, custom string) {
			at = m.within(at)
			direction := "Originating"
			if m.from.person < 0 {
				direction = "Incoming"
			}
			server := "ex0" + strconv.Itoa(host+1)
			fields := []string{
				time.UnixMilli(at).UTC().Format("2006-01-02T15:04:05.000Z"), m.source, "", "10.16.1." + strconv.Itoa(host+1), server, context, server + `\Default`,
				source, event, strconv.FormatInt(48_000_000_000_000+m.number, 10), "<" + m.ID + ">", m.Network, strings.Join(to, ";"), strings.Join(status, ";"),
				strconv.FormatInt(m.Bytes, 10), strconv.Itoa(len(to)), related, "", m.subject(), m.sender(), m.sender(), "", direction, "", m.source,
				"10.16.1." + strconv.Itoa(host+1), custom, "Email", fmt.Sprintf("%s-%02d", m.Network[:18], at%100), "15.02.1118.021",
			}
			var line []byte
			for i, f := range fields {
				if i > 0 {
					line = append(line, ',')
				}
				if strings.ContainsAny(f, ",\"\r\n") {
					line = append(line, '"')
					line = appendDoubled(line, f)
					line = append(line, '"')
				} else {
					line = append(line, f...)
				}
			}
			row(at, host, line)
		}
		const hop = "S:FirstForestHop=ex01.algkoping.example;S:DeliveryPriority=Normal"
		var inside, outside, failed []string
		var list string
		for i, to := range m.to {
			switch {
			case m.failed[i]:
				failed = append(failed, m.To[i])
			case to.person < 0:
				outside = append(outside, m.To[i])
			default:
				inside = append(inside, m.To[i])
				if strings.HasPrefix(strings.ToLower(m.To[i]), "alla-") {
					list = m.To[i]
				}
			}
		}
		switch {
		case m.Rule:
			write(m.Time, 1, "Rule", "MAILBOXRULE", "RECEIVE", m.To, nil, "", "S:FirstForestHop=ex02.algkoping.example")
		case m.from.person >= 0:
			write(m.Time, 1, "MDB:0c8a3f02, Mailbox:77e1, Event:1440, MessageClass:IPM.Note", "STOREDRIVER", "SUBMIT", nil, nil, "", "")
			write(m.Time, 0, "", "SMTP", "RECEIVE", m.To, nil, "", hop)
		default:
			write(m.Time, 0, "08DB0F5DBC3D2C80;2026-01-01T00:00:00.000Z;0", "SMTP", "RECEIVE", m.To, nil, "", hop)
		}
		write(m.Time+12, 0, "ex02=250 2.6.0 Queued mail for redundancy", "SMTP", "HAREDIRECT", m.To, nil, "", hop)
		if list != "" {
			write(m.Time+20, 0, "", "ROUTING", "EXPAND", []string{"medlem.ett@algkoping.example", "medlem.tva@algkoping.example"}, nil, list, "")
		}
		at := m.Time + 60 + m.number%1400
		if len(outside) > 0 {
			write(at, 0, "", "SMTP", "SENDEXTERNAL", outside, []string{"250 2.0.0 OK"}, "", hop)
		}
		if len(failed) > 0 {
			write(at+5, 0, "", "ROUTING", "FAIL", failed, []string{"550 5.1.1 RESOLVER.ADR.RecipNotFound; not found"}, "", hop)
		}
		if len(inside) > 0 {
			if m.from.person < 0 {
				write(at+30, 1, "", "SMTP", "RECEIVE", inside, nil, "", hop)
			}
			write(at+90, 1, "", "STOREDRIVER", "DELIVER", inside, nil, "", hop)
		}
		if m.number%3 == 0 {
			write(at+95, 1, "", "STOREDRIVER", "NOTIFYMAPI", nil, nil, "", "")
		}
	}
}

func exchange2003Header() [][]byte {
	return [][]byte{
		[]byte("# Message Tracking Log File"), []byte("# Exchange System Attendant Version 6.5.7638.1"),
		[]byte("# Date\tTime\tclient-ip\tClient-hostname\tPartner-Name\tServer-hostname\tserver-IP\tRecipient-Address\tEvent-ID\tMSGID\tPriority\t" +
			"Recipient-Report-Status\ttotal-bytes\tNumber-Recipients\tOrigination-Time\tEncryption\tservice-Version\tLinked-MSGID\tMessage-Subject\tSender-Address"),
	}
}

func newExchange2003(*time.Location) func(*Message, func(int64, int, []byte)) {
	return func(m *Message, row func(int64, int, []byte)) {
		began := time.UnixMilli(m.Time).UTC().Format("2006-01-02 15:04:05 GMT")
		write := func(at int64, event int, to string) {
			at = m.within(at)
			line := time.UnixMilli(at).UTC().AppendFormat(nil, "2006-01-02\t15:04:05 GMT\t")
			line = append(line, m.source+"\t-\t-\tEXCHANGE\t10.16.1.9\t"+to+"\t"+strconv.Itoa(event)+"\t"+m.ID+"\t0\t0\t"...)
			line = strconv.AppendInt(line, m.Bytes, 10)
			line = append(line, "\t"+strconv.Itoa(len(m.To))+"\t"+began+"\t0\tVersion: 6.0.3790.4675\t-\t"+dash(m.subject())+"\t"+m.sender()+"\t-"...)
			row(at, 0, line)
		}
		for _, to := range m.To {
			write(m.Time, 1019, to)
		}
		for _, to := range m.To {
			write(m.Time+3, 1025, to)
		}
		for i, to := range m.To {
			at := m.Time + 400 + m.number%900
			switch {
			case m.failed[i]:
				write(at, 1030, to)
			case m.to[i].person < 0:
				write(at, 1020, to)
				write(at+700, 1031, to)
			default:
				write(at, 1023, to)
				write(at+20, 1028, to)
			}
		}
	}
}

// within answers a time, or the last one of the hour of UTC in which the message came: see MailLog.
func (m *Message) within(at int64) int64 {
	return min(at, m.Time/3_600_000*3_600_000+3_599_999)
}

// sender answers the envelope sender as most logs write it: <> for none.
func (m *Message) sender() string {
	if m.From == "" {
		return "<>"
	}
	return m.From
}

// subject answers the subject in the encoding that the message has it in.
func (m *Message) subject() string {
	if m.latin {
		return latin1(m.Subject)
	}
	return m.Subject
}
