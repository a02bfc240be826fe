package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"tillsyn/internal/audit"
	"tillsyn/internal/seal"
	"tillsyn/internal/vault"
)

// purgeCertificateCommand is 'tillsyn purge certificate'.
func purgeCertificateCommand() *cli.Command {
	return &cli.Command{
		Name: "certificate", Usage: "check a purge certificate, offline, and say what it says", ArgsUsage: "FILE...",
		Description: `FILE is a signed certificate (.note), as a purge saves it. It is compared with the record: with all of it in --dir, a copy or an
export of the log, which is verified whole; otherwise with the record's proof that lies beside it (.proof) and --log-key. Without
either, where the configuration names a record, with that one. With the whole record it is also compared with what was to be done.
What can't be compared is said.

Exit codes: 0 it holds, 1 it can't be read, 2 wrong flags, 3 it does not hold: the signature, its place in the record, or what it says.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "dir", Usage: "the record, a copy or an export of it, in `FOLDER`"},
			&cli.StringFlag{Name: "log-key", Usage: "the record's public key `VKEY`, from somebody you trust ('tillsyn audit key'); default: of audit.key"},
			&cli.StringFlag{Name: "signer", Usage: "the purge's public key `VKEY`, where you know it; default: the one that the record vouches for"},
			&cli.StringFlag{Name: "language", Usage: "of what is printed: `sv|en`", Value: "en"},
			&cli.BoolFlag{Name: "json", Usage: "print JSON"},
		},
		Action: func(c *cli.Context) error {
			files, err := argumentsOf(c)
			if err != nil {
				return err
			}
			if len(files) == 0 || !slices.Contains(vault.Languages(), c.String("language")) {
				return usageErrorf("purge certificate: name certificates as FILE..., and a language of %s", strings.Join(vault.Languages(), ", "))
			}
			o := certificateOptions{dir: c.String("dir"), signer: c.String("signer"), language: c.String("language"), json: c.Bool("json")}
			if o.signer != "" {
				if _, err := seal.VerifierName(o.signer); err != nil {
					return usageErrorf("--signer: %w", err)
				}
			}
			if key := c.String("log-key"); key != "" {
				trust, err := audit.NewTrust(key)
				if err != nil {
					return usageErrorf("--log-key: %w", err)
				}
				o.trust = trust
				return runPurgeCertificate(c.Context, c.App.Writer, files, o)
			}
			cfg, err := configOf(c)
			if err != nil {
				return err
			}
			o.trust, err = audit.TrustOf(cfg.Audit)
			switch {
			case errors.Is(err, fs.ErrNotExist):
				if o.dir != "" {
					return usageErrorf("--log-key is missing, and audit.key of the configuration is not there")
				}
			case err != nil:
				return err
			case o.dir == "":
				if _, err := os.Stat(cfg.Audit.Directory); err == nil {
					o.dir = cfg.Audit.Directory
				}
			}
			return runPurgeCertificate(c.Context, c.App.Writer, files, o)
		},
	}
}

type certificateOptions struct {
	dir      string      // of the record; empty: there is none here
	trust    audit.Trust // zero: the record's key is not known
	signer   string
	language string
	json     bool
}

// A certificateLine is a certificate that holds, as JSON.
type certificateLine struct {
	File     string `json:"file"`
	Holds    bool   `json:"holds"`
	Pinned   bool   `json:"pinned"`          // its key was given, or the record vouches for it
	Recorded bool   `json:"recorded"`        // the record has it
	Entry    string `json:"entry,omitempty"` // of the record
	Intent   bool   `json:"intent"`          // the record has what was to be done, and it is that
	vault.Certificate
}

func runPurgeCertificate(ctx context.Context, w io.Writer, files []string, o certificateOptions) (err error) {
	var records []audit.Record
	whole := false
	if o.dir != "" {
		root, err := os.OpenRoot(o.dir)
		if err != nil {
			return fmt.Errorf("open the audit log: %w", err)
		}
		defer func() { err = errors.Join(err, root.Close()) }()
		report, _, err := audit.Verify(ctx, root.FS(), o.trust, audit.Memory{})
		if err != nil {
			return err
		}
		if first, found := report.First(); found || !report.OK() {
			return foundErrorf("the record does not verify: %s", first)
		}
		if records, err = audit.NewReader(root.FS(), o.trust).Entries(ctx); err != nil {
			return auditError(err)
		}
		// What stands in a segment that was retired is only in proofs.
		whole = !slices.ContainsFunc(report.Segments, func(s audit.SegmentReport) bool { return s.State == audit.StateRetired })
	}
	var lines []certificateLine
	var faults []error
	for _, file := range files {
		check, err := checkCertificate(file, o, records, whole)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", file, err))
			continue
		}
		line := certificateLine{File: file, Holds: true, Pinned: check.Pinned, Recorded: check.Recorded, Intent: check.Intent, Certificate: check.Certificate}
		if check.Recorded {
			line.Entry = check.Position.String()
		}
		lines = append(lines, line)
		if o.json {
			continue
		}
		if err := printCertificate(w, file, check, o.language); err != nil {
			return err
		}
	}
	if o.json {
		if err := printJSON(w, struct {
			Certificates []certificateLine `json:"certificates"`
		}{nonNil(lines)}); err != nil {
			return err
		}
	}
	return errors.Join(faults...)
}

const maxCertificate = seal.MaxDocument + 64<<10

func readUpTo(file string, most int64) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(text)) > most {
		err = fmt.Errorf("it has more than %d bytes", most)
	}
	return text, err
}

func checkCertificate(file string, o certificateOptions, records []audit.Record, whole bool) (vault.CertificateCheck, error) {
	var none vault.CertificateCheck
	note, err := readUpTo(file, maxCertificate)
	if err != nil {
		return none, fmt.Errorf("read a purge certificate: %w", err)
	}
	check, err := vault.VerifyCertificate(note, o.signer, o.trust.Deployment(), records, whole)
	if err != nil {
		return none, foundErrorf("%w", err)
	}
	if check.Recorded || o.trust.Key() == "" {
		return check, nil
	}
	text, err := readUpTo(strings.TrimSuffix(file, ".note")+".proof", maxCertificate)
	switch {
	case errors.Is(err, fs.ErrNotExist) && records == nil:
		return check, nil
	case errors.Is(err, fs.ErrNotExist):
		return none, foundErrorf("%w: the record does not have it in what is left of it, and there is no proof beside it", vault.ErrCertificate)
	case err != nil:
		return none, fmt.Errorf("read the proof of a purge certificate: %w", err)
	}
	proof, err := audit.ParseProof(text)
	if err != nil {
		return none, foundErrorf("%w: its proof: %w", vault.ErrCertificate, err)
	}
	entry, err := proof.Check(o.trust)
	if err != nil {
		return none, foundErrorf("%w: its proof: %w", vault.ErrCertificate, err)
	}
	if entry.Kind != audit.PurgeCertificate || entry.Body != string(note) {
		return none, foundErrorf("%w: the proof beside it is of another entry", vault.ErrCertificate)
	}
	if check, err = vault.VerifyCertificate(note, o.signer, o.trust.Deployment(), append(slices.Clone(records), entry), false); err != nil {
		return none, foundErrorf("%w", err)
	}
	return check, nil
}

func printCertificate(w io.Writer, file string, c vault.CertificateCheck, language string) error {
	fmt.Fprintf(w, "%s: it holds\n\n", file)
	if err := c.Text(w, language); err != nil {
		return err
	}
	switch {
	case c.Recorded && c.Intent:
		fmt.Fprintf(w, "\nThe record has it, as entry %s, and what was to be done is what it says was done.\n", c.Position)
	case c.Recorded:
		fmt.Fprintf(w, "\nThe record has it, as entry %s. What was to be done was not compared: that takes the whole record (--dir).\n", c.Position)
	default:
		fmt.Fprintln(w, "\nIt was compared with no record: give --dir, or --log-key and the .proof that was saved beside it.")
	}
	if !c.Pinned {
		fmt.Fprintf(w, "The key that it is signed with is its own: anybody can make one. Compare %s with the one that you know, or give --signer.\n", c.Signer)
	}
	_, err := fmt.Fprintln(w)
	return err
}
