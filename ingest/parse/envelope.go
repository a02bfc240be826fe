package parse

import "bytes"

// maxEnvelopes bounds the envelopes within envelopes.
const maxEnvelopes = 3

// envelopePaths answers where shippers put the line that they carry: Filebeat, Vector and Logstash (message), Fluent Bit and
// Docker (log), rsyslog's templates (msg), Elastic's agents (event.original), Splunk's collectors (event, _raw),
// the systemd journal (MESSAGE). A slot of an envelope is an index of it.
//
// Sources: https://www.elastic.co/guide/en/beats/filebeat/current/exported-fields-log.html,
// https://docs.fluentbit.io/manual/pipeline/inputs/tail, https://vector.dev/docs/reference/configuration/sources/file/.
func envelopePaths() [envelopeSlots]string {
	return [envelopeSlots]string{"message", "log", "event.original", "_raw", "event", "msg", "MESSAGE"}
}

const envelopeSlots = 7

// An envelope opens the records of shippers for the formats whose events are lines: a JSON object with the line in one of
// envelopePaths, an array of such (Fluent's with their time before them), or the {"records": […]} of Azure's Event Hubs, with lines or objects in it. The text in
// it may be many lines, or another envelope.
type envelope struct {
	walker *jsonWalker
	texts  []byte // of all envelopes of a line, one after the other
	ends   []int
	empty  int // objects without a text
	inner  *envelope
	depth  int
	each   func(at, size int)
	string func(at int, v jsonValue)
}

func newEnvelope(depth int) *envelope {
	schema := jsonSchema{slots: map[string]jsonSlot{}, lists: map[string]bool{"records": true}, through: map[string]bool{"properties": true}}
	for slot, path := range envelopePaths() {
		schema.slots[path] = slot
	}
	v := &envelope{walker: newJSONWalker(schema), depth: depth}
	v.string = func(_ int, value jsonValue) {
		if value.kind != '"' {
			v.empty++
			return
		}
		v.texts = appendUnescaped(v.texts, value.bare())
		v.ends = append(v.ends, len(v.texts))
	}
	v.each = func(int, int) {
		for slot := range envelopeSlots {
			if value := v.walker.object.values[slot]; value.kind == '"' {
				v.string(0, value)
				return
			}
		}
		v.empty++
	}
	return v
}

// open calls found for the text of every envelope in b, which is a line that begins with '{' or '[', and bad for every part
// of it that can't be opened; false, and no call, where there is no text in it at all. A text is valid during the call only.
func (v *envelope) open(b []byte, found func(text []byte), bad func(Reason)) bool {
	v.texts, v.ends, v.empty = v.texts[:0], v.ends[:0], 0
	broken := false
	for at := 0; at < len(b) && !broken; {
		switch b[at] {
		case ' ', '\t', '\r', '\n', '[', ']', ',':
			at++
		case '{':
			empty := v.empty
			n, err := v.walker.next(b[at:], v.each, v.string)
			if at += n; err == nil && n == len("{}") {
				v.empty = empty // Fluent Bit's metadata: [[time, {}], {"log": …}]
			}
			broken = err != nil
		case '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
			// the time in Fluent's [time, {"log": …}]
			end := at
			for end < len(b) && (b[end]-'0' <= 9 || b[end] == '.') {
				end++
			}
			broken, at = at == 0, end
		default:
			broken = true
		}
	}
	v.walker.forget()
	if len(v.ends) == 0 {
		return false
	}
	start := 0
	for _, end := range v.ends {
		text := v.texts[start:end]
		start = end
		if inner := bytes.TrimLeft(text, " \t\r\n"); len(inner) > 0 && (inner[0] == '{' || inner[0] == '[') && v.depth < maxEnvelopes {
			if v.inner == nil {
				v.inner = newEnvelope(v.depth + 1)
			}
			if v.inner.open(inner, found, bad) {
				continue
			}
		}
		found(text)
	}
	for range v.empty {
		bad(ForeignLine)
	}
	if broken {
		bad(BadLayout)
	}
	clear(v.texts)
	return true
}
