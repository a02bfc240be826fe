package parse

import (
	"errors"
	"fmt"
)

// m365MessageTraceJSON reads Microsoft 365's message trace as JSON: what Get-MessageTrace | ConvertTo-Json writes (one object,
// or an array over many lines), the reporting web service's {"d":{"results":[…]}}, Microsoft Graph's {"value":[…]}, or one
// object a line. What a column is, is said at m365Reader.
type m365MessageTraceJSON struct {
	m365Reader
	object *jsonObject
	memory *scratch
	event  *Event
	value  func(jsonSlot) []byte
	to     func()
}

func newM365MessageTraceJSON(o Options) (jsonFormat, error) {
	reader, err := newM365Reader(o)
	f := &m365MessageTraceJSON{m365Reader: reader}
	f.value = func(slot jsonSlot) []byte { return f.object.text(slot, f.memory) }
	f.to = func() {
		for v := range f.object.all(m365Recipient) {
			recipients(f.memory.json(v), ';', f.event)
		}
	}
	return f, errors.Join(err, m365Layout(o.Layout))
}

// m365Layout says what is wrong with Options.Layout.
func m365Layout(name string) error {
	if name != "" && name != "mdy" && name != "dmy" {
		return fmt.Errorf("there is no layout %q: it is the order of month and day in dates, %s", name, m365Layouts)
	}
	return nil
}

func (f *m365MessageTraceJSON) schema() jsonSchema {
	slots := map[string]jsonSlot{}
	for name, slot := range m365Names() {
		slots[name] = slot
	}
	for name, slot := range map[string]jsonSlot{
		"origin_timestamp": m365Time, "origin_timestamp_utc": m365Time, "message_id": m365MessageID, "network_message_id": m365NetworkID, "sender_address": m365Sender,
		"recipient_status": m365RecipientStatus, "message_subject": m365Subject, "total_bytes": m365Size, "original_client_ip": m365IP,
	} {
		slots[name] = slot
	}
	return jsonSchema{slots: slots, lists: map[string]bool{"value": true, "d.results": true, "results": true}, folded: true}
}

func (f *m365MessageTraceJSON) fill(o *jsonObject, e *Event, s *scratch) (Reason, string) {
	f.object, f.memory, f.event = o, s, e
	return f.m365Reader.fill(f.value, f.to, e)
}

func (f *m365MessageTraceJSON) origins() []Origin {
	names := [m365Slots]string{
		m365Time: "Received", m365MessageID: "MessageId", m365Sender: "SenderAddress", m365Recipient: "RecipientAddress", m365Subject: "Subject",
		m365Status: "Status", m365Size: "Size", m365IP: "FromIP", m365Direction: "directionality",
	}
	return m365Origins(func(slot jsonSlot) string { return names[slot] })
}

func m365MessageTraceJSONFormat() format {
	return format{
		FormatInfo: FormatInfo{
			Name: "m365_message_trace_json", About: "Microsoft 365 message trace, JSON (PowerShell, reporting service, Graph)", Kind: Mail,
			Takes: []string{NeedZone, NeedLayout, NeedInternalDomains},
		},
		document: newM365MessageTraceJSON,
	}
}
