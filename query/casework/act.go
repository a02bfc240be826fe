package casework

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"tillsyn/internal/audit"
	"tillsyn/internal/seal"
)

// The types of acts on a decision: the first field of each document, so that none can be taken for another.
const (
	ActApproval   = "tillsyn decision approval v1"
	ActDenial     = "tillsyn decision denial v1"
	ActRevocation = "tillsyn decision revocation v1"
	ActNotice     = "tillsyn decision notice v1"
	ActClosing    = "tillsyn decision closing v1"
	ActLookup     = "tillsyn lookup v1"
)

// An Act is what somebody does about a decision: a signed document of its own that names the decision by its digest. Which
// fields it has follows from its type; the others must be empty.
type Act struct {
	Type     string      `json:"type"`
	Case     string      `json:"case"`
	Decision seal.Digest `json:"decision"`
	Actor    string      `json:"actor"` // id of who signs
	At       time.Time   `json:"at"`    // UTC, whole seconds
	Nonce    string      `json:"nonce"` // 32 random bytes in base64

	Role     seal.Role       `json:"role,omitempty"`     // approval, denial
	Register *RegisterDigest `json:"register,omitempty"` // approval: the register that stood when it was signed
	Handover seal.Digest     `json:"handover,omitzero"`  // approval: of the sealed shares
	Reason   string          `json:"reason,omitempty"`   // denial, revocation
	Told     string          `json:"told,omitempty"`     // notice: who was told
	ToldAt   time.Time       `json:"told_at,omitzero"`   // notice
	Result   string          `json:"result,omitempty"`   // closing
}

// An actRule says which fields an act of a type has, what the record calls it, and who may do it.
type actRule struct {
	kind     audit.Kind
	role     bool
	register bool
	reason   bool
	told     bool
	result   bool

	holder       bool // a holder of a role of the seat may
	requester    bool
	investigator bool
}

func actRuleOf(typ string) (actRule, error) {
	switch typ {
	case ActApproval:
		return actRule{kind: audit.DecisionApproved, role: true, register: true, holder: true}, nil
	case ActDenial:
		return actRule{kind: audit.DecisionDenied, role: true, reason: true, holder: true}, nil
	case ActRevocation:
		return actRule{kind: audit.DecisionRevoked, reason: true, holder: true, requester: true, investigator: true}, nil
	case ActNotice:
		return actRule{kind: audit.DecisionNotified, told: true, holder: true, requester: true}, nil
	case ActClosing:
		return actRule{kind: audit.DecisionClosed, result: true, holder: true, requester: true, investigator: true}, nil
	case ActLookup:
		return actRule{kind: audit.LookupIntent, investigator: true}, nil
	}
	return actRule{}, errors.New("type: is not that of an act")
}

// NewAct begins an act of a type on the decision with this digest.
func NewAct(typ string, d *Decision, digest seal.Digest, actor string, at time.Time) Act {
	return Act{Type: typ, Case: d.Case, Decision: digest, Actor: actor, At: at.UTC().Truncate(time.Second), Nonce: NewNonce()}
}

// Validate answers every fault of a, joined, or nil. Messages quote nothing of a.
func (a *Act) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	rule, err := actRuleOf(a.Type)
	if err != nil {
		return err
	}
	has := func(name string, wanted, there bool) {
		if wanted && !there {
			fault("%s: is missing", name)
		} else if !wanted && there {
			fault("%s: does not belong into a document of this type", name)
		}
	}
	if err := checkCase(a.Case); err != nil {
		faults = append(faults, err)
	}
	if a.Decision.IsZero() {
		fault("decision: is missing")
	}
	if !idForm.MatchString(a.Actor) {
		fault("actor: is not an id")
	}
	if err := checkTime(a.At); err != nil {
		fault("at: %w", err)
	}
	if err := checkNonce(a.Nonce); err != nil {
		faults = append(faults, err)
	}
	has("role", rule.role, a.Role != "")
	if a.Role != "" && !slices.Contains(seal.Approvers(), a.Role) {
		fault("role: is not one of %v", seal.Approvers())
	}
	has("register", rule.register, a.Register != nil)
	if a.Register != nil && (a.Register.Number < 1 || a.Register.Digest.IsZero()) {
		fault("register: is missing")
	}
	has("handover", rule.register, !a.Handover.IsZero())
	has("reason", rule.reason, a.Reason != "")
	has("told", rule.told, a.Told != "")
	has("told_at", rule.told, !a.ToldAt.IsZero())
	if rule.told && !a.ToldAt.IsZero() {
		if err := checkTime(a.ToldAt); err != nil {
			fault("told_at: %w", err)
		} else if a.ToldAt.After(a.At) {
			fault("told_at: is later than the document")
		}
	}
	has("result", rule.result, a.Result != "")
	for name, text := range map[string]string{"reason": a.Reason, "result": a.Result} {
		if err := checkText(text, maxText); err != nil {
			fault("%s: %w", name, err)
		}
	}
	if err := checkLine(a.Told); err != nil {
		fault("told: %w", err)
	}
	slices.SortStableFunc(faults, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(faults...)
}

// SignAct is a as a document.
func SignAct(a Act, signer *seal.Signer) ([]byte, error) {
	if err := a.Validate(); err != nil {
		return nil, fmt.Errorf("write an act: %w", err)
	}
	if signer == nil || signer.Name() != a.Actor {
		return nil, errors.New("sign an act: this is not the key of its actor")
	}
	text, err := seal.Canonical(a)
	if err != nil {
		return nil, err
	}
	return seal.Sign(text, signer)
}

// ReadAct reads an act without asking who signed it: see [Decision.check].
func ReadAct(signed []byte) (Act, error) {
	var a Act
	text, err := seal.Unsigned(signed)
	if err != nil {
		return Act{}, fmt.Errorf("read an act: %w", err)
	}
	if err := seal.ParseCanonical(text, &a); err != nil {
		return Act{}, fmt.Errorf("read an act: %w", err)
	}
	if err := a.Validate(); err != nil {
		return Act{}, fmt.Errorf("read an act: %w", err)
	}
	return a, nil
}

// IsAct says whether text looks like a signed act, rather than an approval on its way.
func IsAct(text []byte) bool {
	_, err := seal.Unsigned(text)
	return err == nil
}

// ErrNotEntitled is when somebody does what is another's to do, or signs with a key that is not theirs.
var ErrNotEntitled = errors.New("the one who signed may not do this")

// openAct reads an act on the decision d with this digest, and checks that one who may do it has signed it: with the key that stands in
// the last register of the chain, and for requester and investigators in the decision too.
func openAct(signed []byte, d *Decision, digest seal.Digest, chain []*seal.Register) (Act, error) {
	a, err := ReadAct(signed)
	if err != nil {
		return Act{}, err
	}
	if a.Decision != digest || a.Case != d.Case {
		return Act{}, errors.New("read an act: it is on another decision")
	}
	key, err := d.keyFor(&a, chain)
	if err != nil {
		return Act{}, err
	}
	if _, _, err := seal.Open(signed, key); err != nil {
		return Act{}, fmt.Errorf("read an act: %w", err)
	}
	return a, nil
}

// keyFor answers the verifier key that must have signed a, by the last register of the chain.
func (d *Decision) keyFor(a *Act, chain []*seal.Register) (string, error) {
	rule, err := actRuleOf(a.Type)
	if err != nil {
		return "", err
	}
	if len(chain) == 0 {
		return "", ErrNotEntitled
	}
	current := chain[len(chain)-1]
	p, ok := d.investigator(a.Actor)
	if ok = ok && rule.investigator; !ok && a.Actor == d.Requester.ID && rule.requester {
		p, ok = d.Requester, true
	}
	if ok {
		// A key that three roles have taken out of the register may be in anybody's hands.
		if !current.Enrolled(p.ID, p.Key, d.Population) {
			return "", fmt.Errorf("%w: no longer in the register", ErrNotEntitled)
		}
		return p.Key, nil
	}
	if !rule.holder {
		return "", ErrNotEntitled
	}
	if !rule.register {
		h, ok := current.Holder(a.Actor)
		if !ok || !current.Decides(h.ID, d.Population) || rule.role && h.Role != a.Role {
			return "", ErrNotEntitled
		}
		return h.Verifier, nil
	}
	h, err := d.approver(a, chain)
	return h.Verifier, err
}

// approver answers the holder who may approve as a says: a holder of that role for the population, by the register that a
// names and by the current one, the same person with the same keys, and neither requester, investigator nor subject; by the register
// that a names, those are enrolled.
func (d *Decision) approver(a *Act, chain []*seal.Register) (seal.Holder, error) {
	if a.Register == nil || len(chain) == 0 {
		return seal.Holder{}, ErrNotEntitled
	}
	n := a.Register.Number
	if n < d.Register.Number || n > len(chain) || chain[n-1].Digest() != a.Register.Digest ||
		d.Register.Number > len(chain) || chain[d.Register.Number-1].Digest() != d.Register.Digest {
		return seal.Holder{}, fmt.Errorf("%w: the register that it names is not in the chain", ErrNotEntitled)
	}
	then, current := chain[n-1], chain[len(chain)-1]
	// By the register of then: what three people have approved does not fall when one of the others leaves; lookups do.
	if err := d.Enrolled(then); err != nil {
		return seal.Holder{}, fmt.Errorf("%w: %w", ErrNotEntitled, err)
	}
	h, ok := then.Holder(a.Actor)
	if !ok || !then.Decides(h.ID, d.Population) || h.Role != a.Role {
		return seal.Holder{}, ErrNotEntitled
	}
	now, ok := current.Holder(a.Actor)
	if !ok || !current.Decides(now.ID, d.Population) || now.Role != h.Role || now.Verifier != h.Verifier || now.Population != h.Population {
		return seal.Holder{}, fmt.Errorf("%w: no longer a holder of the role", ErrNotEntitled)
	}
	if err := d.MayApprove(h); err != nil {
		return seal.Holder{}, err
	}
	return h, nil
}

// MayApprove says why a holder may not approve d, or nil: whether it is neither requester, investigator nor subject, by id or by key.
func (d *Decision) MayApprove(h seal.Holder) error {
	for _, p := range append([]Signatory{d.Requester}, d.Investigators...) {
		if strings.EqualFold(p.ID, h.ID) || keyOf(p.Key) == keyOf(h.Verifier) {
			return fmt.Errorf("%w: requester and investigators do not approve", ErrNotEntitled)
		}
	}
	if d.Scope.isSubject(h.ID) {
		return fmt.Errorf("%w: nobody approves about themselves", ErrNotEntitled)
	}
	return nil
}

// samePerson says whether two holders are one person, by id, signing key or age recipient.
func samePerson(a, b seal.Holder) bool {
	return strings.EqualFold(a.ID, b.ID) || keyOf(a.Verifier) == keyOf(b.Verifier) ||
		slices.ContainsFunc(a.Recipients, func(r string) bool { return slices.Contains(b.Recipients, r) })
}
