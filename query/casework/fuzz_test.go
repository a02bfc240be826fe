package casework

import (
	"bytes"
	"encoding/json"
	"testing"

	"tillsyn/internal/audit"
	"tillsyn/internal/seal"
)

// What comes in from an approver or to one: nothing panics, and nothing that was not signed is taken.
func FuzzParcels(f *testing.F) {
	o := newTown(f)
	s := newStory(o, nil)
	act := s.approval("manager-1", nil)
	handover, err := seal.SealHandover(o.gate.Public(), s.Digest, seal.Manager, map[seal.KeyID]seal.Share{})
	if err != nil {
		f.Fatal(err)
	}
	signed := get(SignDecision(s.Decision, o.signer("chef")))
	registers := make([]string, len(o.notes))
	for i, n := range o.notes {
		registers[i] = string(n)
	}
	f.Add(get(json.Marshal(approvalFile{typeApproval, string(act), handover})))
	f.Add(get(json.Marshal(bundle{Type: typeBundle, Role: "hr", Decision: string(signed), Registers: registers, Keys: []share{{Kind: Web, Tag: []byte{1}}}})))
	f.Add(act)
	f.Add(Memory{Log: "x", Checkpoint: "y", Tenant: tenant}.Encode())
	trust, err := audit.NewTrust("norrbo/audit+4c0e8a53+AaVbq3mGxuxvRNvuTXrQkTOTL1dO7zPHUZWZMBLVFPK2")
	if err != nil {
		trust = audit.Trust{}
	}
	a := &Approver{ID: "hr-1", Signer: o.signer("hr-1"), Trust: trust, Now: noon}
	f.Fuzz(func(t *testing.T, text []byte) {
		if got, h, err := parseApproval(text); err == nil {
			if again := get(json.Marshal(approvalFile{typeApproval, string(got), h})); len(again) == 0 {
				t.Fatal("an approval that was read can't be written")
			}
		}
		if _, err := a.Open(text); err == nil {
			t.Fatal("a bundle without a proof was taken")
		}
		if m, err := ParseMemory(text); err == nil && len(text) > 0 && !bytes.Equal(m.Encode(), text) {
			t.Fatal("a memory that was read is not written alike")
		}
		if got, err := openAct(text, s.Decision, s.Digest, o.chain); err == nil && !bytes.Equal(text, act) {
			t.Fatalf("an act was taken that nobody signed: %s", got.Type)
		}
		_, _ = BundleRegisters(text)
	})
}
