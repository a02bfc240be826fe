package casework

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// A PoliceRequest is what the police asked for, as it came: the extract's cover says so, and the decision was taken on it.
type PoliceRequest struct {
	Authority string    // Polismyndigheten, region and unit
	Reference string    // its own number: the one that stands in the decision's finding
	Law       string    // that it asks by, and that the decision's ground names
	Received  time.Time // UTC
	Handler   string    // whom the extract is for; may be empty
}

// Validate answers every fault of r for a decision, joined, or nil. What the police asks by must be what was decided on.
func (r PoliceRequest) Validate(d *Decision) error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if d.Kind != Police {
		fault("the decision is of the kind %s, not %s", d.Kind, Police)
	}
	for name, text := range map[string]string{"authority": r.Authority, "reference": r.Reference, "law": r.Law} {
		if text == "" {
			fault("%s: is missing", name)
		} else if err := checkLine(text); err != nil {
			fault("%s: %w", name, err)
		}
	}
	if err := checkLine(r.Handler); err != nil {
		fault("handler: %w", err)
	}
	if err := checkTime(r.Received); err != nil {
		fault("received: %w", err)
	} else if r.Received.After(d.Requested) {
		fault("received: is later than the decision: nothing is prepared before the police has asked")
	}
	if r.Reference != "" && !strings.Contains(d.Finding, r.Reference) {
		fault("reference: is not the one in the decision's finding")
	}
	if r.Law != "" && !strings.Contains(d.Ground, r.Law) {
		fault("law: is not in the decision's ground")
	}
	return joinSorted(faults)
}

// PoliceCover is the cover letter of an extract for the police: who asked, by which law, what is in it and what is not.
func PoliceCover(d *Decision, r PoliceRequest, rows int, authority string, now time.Time) (Page, error) {
	if err := r.Validate(d); err != nil {
		return Page{}, fmt.Errorf("write the cover of an extract for the police: %w", err)
	}
	if rows < 0 || now.IsZero() {
		return Page{}, errors.New("write the cover of an extract for the police: rows or time are missing")
	}
	return Page{
		From: authority,
		Heading: Phrase{
			"Utdrag ur loggar till " + Clipped(r.Authority, 200), "Extract from logs for " + Clipped(r.Authority, 200),
		},
		Lead: Phrase{
			"Utdraget lämnas efter er begäran och ett beslut som tre roller har fattat. Det innehåller bara det som beslutet omfattar.",
			"This extract is given on your request, under a decision that three roles took. It holds only what the decision covers.",
		},
		Sections: []Section{
			{Heading: Phrase{"Begäran", "The request"}, Facts: filled([]Fact{
				{Term: Phrase{"Myndighet", "Authority"}, Value: r.Authority},
				{Term: Phrase{"Ert diarienummer", "Your reference"}, Value: r.Reference},
				{Term: Phrase{"Mottagare", "For"}, Value: r.Handler},
				{Term: Phrase{"Begäran kom in", "Request received"}, Value: clockTime(r.Received)},
				{Term: Phrase{"Lagrum", "Law"}, Value: r.Law},
			})},
			{Heading: Phrase{"Beslutet", "The decision"}, Facts: []Fact{
				{Term: Phrase{"Vårt ärendenummer", "Our case number"}, Value: d.Case},
				{Term: Phrase{"Grund", "Ground"}, Value: d.Ground},
				{Term: Phrase{"Skäl", "Reason"}, Value: d.Reason},
			}},
			{Heading: Phrase{"Vad utdraget innehåller", "What the extract holds"}, Facts: append(scopeFacts(d),
				Fact{Term: Phrase{"Rader", "Rows"}, Value: fmt.Sprint(rows)}),
				Text: []Phrase{{
					"Andra personer än den som beslutet gäller är dolda. Tider är UTC. Loggarna visar vad en dator eller ett konto gjorde; de bevisar inte vem som satt vid den.",
					"People other than the one whom the decision is about are hidden. Times are UTC. Logs show what a computer or an account did; they do not prove who sat at it.",
				}}},
			{Heading: Phrase{"Så kontrolleras utdraget", "How to check the extract"}, Text: []Phrase{{
				"readme.txt i arkivet beskriver hur innehållet kontrolleras utan tillgång till vårt system. Loggbokens öppna nyckel lämnar vi på begäran.",
				"readme.txt in the archive says how to check the content without access to our system. We give you the public key of our record on request.",
			}}},
		},
		Foot: []Phrase{{"Framställt " + clockTime(now) + ".", "Made " + clockTime(now) + "."}},
	}, nil
}
