package casework

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"tillsyn/internal/audit"
	"tillsyn/internal/seal"
)

const (
	typeManifest = "tillsyn export manifest v1"

	// MaxExport is the most bytes that one file in an export may have.
	MaxExport = 4 << 30

	maxExportFiles = 2000
	// maxExportDocuments is the most bytes that decision, acts, registers and proofs have together.
	maxExportDocuments = 12 << 20
	manifestName       = "manifest.note" // signed; it can't name itself
	madeName           = "made.proof"    // that the record holds the manifest's digest; made after it
)

// archiveNameForm is what a file in an export can be called: at most one folder, no dots but the one before the ending.
var archiveNameForm = regexp.MustCompile(`^([a-z]{1,20}/)?[a-z0-9]+(-[a-z0-9]+){0,8}\.[a-z]{2,5}$`)

// A Manifest says what is in an export, which decision it rests on, and who made it. It is a document, signed by its maker: an
// investigator, whose key stands in the decision.
type Manifest struct {
	Type       string         `json:"type"` // tillsyn export manifest v1
	Deployment string         `json:"deployment"`
	Tenant     string         `json:"tenant"`
	Case       string         `json:"case"`
	Kind       Kind           `json:"kind"`
	Decision   seal.Digest    `json:"decision"`
	Maker      string         `json:"maker"` // id
	Made       time.Time      `json:"made"`  // UTC, whole seconds
	Rows       int            `json:"rows"`
	LogKey     string         `json:"log_key"` // of the record that the proofs are of
	Nonce      string         `json:"nonce"`   // so that the digest says nothing of what is inside
	Files      []ManifestFile `json:"files"`   // by name; all but the manifest itself and made.proof
}

// A ManifestFile is a file of an export.
type ManifestFile struct {
	Name   string      `json:"name"`
	Size   int64       `json:"size"` // bytes
	SHA256 seal.Digest `json:"sha256"`
}

// Validate answers every fault of m, joined, or nil. Messages quote nothing of m.
func (m *Manifest) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if m.Type != typeManifest {
		fault("type: is not %s", typeManifest)
	}
	if !originForm.MatchString(m.Deployment) {
		fault("deployment: is not the name of an installation")
	}
	if !wordForm.MatchString(m.Tenant) {
		fault("tenant: is not a tenant's name")
	}
	if err := checkCase(m.Case); err != nil {
		faults = append(faults, err)
	}
	if _, err := RuleOf(m.Kind); err != nil {
		fault("kind: %w", err)
	}
	if m.Decision.IsZero() {
		fault("decision: is missing")
	}
	if !idForm.MatchString(m.Maker) {
		fault("maker: is not an id")
	}
	if err := checkTime(m.Made); err != nil {
		fault("made: %w", err)
	}
	if m.Rows < 0 {
		fault("rows: are below 0")
	}
	if _, err := audit.NewTrust(m.LogKey); err != nil {
		fault("log_key: is not the key of a record")
	}
	if err := checkNonce(m.Nonce); err != nil {
		faults = append(faults, err)
	}
	if len(m.Files) == 0 || len(m.Files) > maxExportFiles {
		fault("files: are not 1 to %d", maxExportFiles)
	}
	for i, f := range m.Files {
		if len(f.Name) > 80 || !archiveNameForm.MatchString(f.Name) || f.Name == manifestName || f.Name == madeName {
			fault("files[%d]: the name is not one that an export can have", i)
		}
		if f.Size < 0 || f.Size > MaxExport {
			fault("files[%d]: the size is not between 0 and %d", i, MaxExport)
		}
		if f.SHA256.IsZero() {
			fault("files[%d]: has no digest", i)
		}
		if i > 0 && m.Files[i-1].Name >= f.Name {
			fault("files[%d]: is not in order, or there twice", i)
		}
	}
	return errors.Join(faults...)
}

// SignManifest is m as a document.
func SignManifest(m Manifest, maker *seal.Signer) ([]byte, error) {
	if err := m.Validate(); err != nil {
		return nil, fmt.Errorf("write a manifest: %w", err)
	}
	if maker == nil || maker.Name() != m.Maker {
		return nil, errors.New("sign a manifest: this is not the key of its maker")
	}
	text, err := seal.Canonical(m)
	if err != nil {
		return nil, err
	}
	return seal.Sign(text, maker)
}

// ReadManifest reads a manifest without asking who signed it, and answers its digest.
func ReadManifest(signed []byte) (Manifest, seal.Digest, error) {
	var m Manifest
	text, err := seal.Unsigned(signed)
	if err == nil {
		err = seal.ParseCanonical(text, &m)
	}
	if err == nil {
		err = m.Validate()
	}
	if err != nil {
		return Manifest{}, seal.Digest{}, fmt.Errorf("read a manifest: %w", err)
	}
	return m, seal.DigestOf(text), nil
}

// exportName is the name of an export's file: nothing that stands in a case number can make it anything but a plain name in its
// folder, of letters, digits and hyphens, which no system takes for a device.
func exportName(number string, m seal.Digest) string {
	plain := strings.NewReplacer("å", "a", "ä", "a", "ö", "o", "Å", "A", "Ä", "A", "Ö", "O").Replace(number)
	words := strings.FieldsFunc(plain, func(r rune) bool {
		return r > 'z' || (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
	slug := strings.Join(words, "-")
	slug = strings.Trim(slug[:min(len(slug), 40)], "-")
	return "tillsyn-" + strings.Join(slices.DeleteFunc([]string{slug, fmt.Sprintf("%x", m[:6])}, func(s string) bool { return s == "" }), "-") + ".zip"
}
