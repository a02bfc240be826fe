package audit

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const maxWitnessAnswer = 1 << 14

// cosign asks the witnesses to co-sign checkpoint, whose tree of this size extends the published one by path, and answers
// it with their signatures. Without the quorum it fails, unless witnesses are advisory. Errors name no address.
func (c WitnessConfig) cosign(ctx context.Context, s segment, published Checkpoint, checkpoint []byte, path tlog.TreeProof, size int64) ([]byte, error) {
	if len(c.Witnesses) == 0 {
		return checkpoint, nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	type answer struct {
		line []byte
		err  error
	}
	answers := make([]chan answer, len(c.Witnesses))
	for i, w := range c.Witnesses {
		answers[i] = make(chan answer, 1)
		go func() {
			line, err := w.cosign(ctx, s, published.Size, checkpoint, path, size)
			answers[i] <- answer{line, err}
		}()
	}
	signed := bytes.Clone(checkpoint)
	var faults []error
	count := 0
	for i := range answers {
		a := <-answers[i]
		if a.err != nil {
			faults = append(faults, fmt.Errorf("witness %d: %w", i+1, a.err))
			continue
		}
		signed = append(signed, a.line...)
		count++
	}
	if count < c.quorum() && !c.Advisory {
		return nil, fmt.Errorf("%d of %d witnesses co-signed, %d must: %w", count, len(c.Witnesses), c.quorum(), errors.Join(faults...))
	}
	return signed, nil
}

// cosign answers the witness's signature line under checkpoint (https://c2sp.org/tlog-witness, add-checkpoint).
func (w Witness) cosign(ctx context.Context, s segment, old int64, checkpoint []byte, path tlog.TreeProof, size int64) ([]byte, error) {
	v, err := newCosignatureVerifier(w.Key)
	if err != nil {
		return nil, err
	}
	// A witness that knows another size than ours says so once; a second disagreement is a race or a lie.
	for range 2 {
		status, kind, body, err := w.post(ctx, old, checkpoint, path)
		switch {
		case err != nil:
			return nil, err
		case status == http.StatusOK:
			n, err := note.Open(append(bytes.Clone(checkpoint), body...), note.VerifierList(v))
			if err != nil || len(n.Sigs) != 1 {
				return nil, errors.New("its co-signature does not verify")
			}
			return fmt.Appendf(nil, "— %s %s\n", n.Sigs[0].Name, n.Sigs[0].Base64), nil
		case status == http.StatusConflict && kind == "text/x.tlog.size":
			old, err = strconv.ParseInt(strings.TrimSuffix(string(body), "\n"), 10, 64)
			if err != nil || old < 0 || old > size {
				return nil, fmt.Errorf("it has seen %d entries of this log, which has %d: is this an old copy?", old, size)
			}
			path = nil
			if old > 0 && old < size {
				_, root, err := parseCheckpoint(textOf(checkpoint), firstLine(checkpoint))
				if err != nil {
					return nil, err
				}
				if path, err = tlog.ProveTree(size, old, s.authentic(tlog.Tree{N: size, Hash: root})); err != nil {
					return nil, err
				}
			}
		case status == http.StatusUnprocessableEntity:
			return nil, errors.New("it has seen another history of this log")
		default:
			return nil, fmt.Errorf("it refused with status %d", status)
		}
	}
	return nil, errors.New("it names another size each time")
}

func (w Witness) post(ctx context.Context, old int64, checkpoint []byte, path tlog.TreeProof) (status int, kind string, answer []byte, err error) {
	var body bytes.Buffer
	fmt.Fprintf(&body, "old %d\n", old)
	for _, h := range path {
		fmt.Fprintf(&body, "%s\n", base64.StdEncoding.EncodeToString(h[:]))
	}
	body.WriteByte('\n')
	body.Write(checkpoint)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(w.URL, "/")+"/add-checkpoint", &body)
	if err != nil {
		return 0, "", nil, errors.New("its address cannot be asked")
	}
	// No redirect: a witness is asked where it is configured to be, or not at all.
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(request)
	if err != nil {
		return 0, "", nil, errors.New("it did not answer")
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(response.Body, maxWitnessAnswer))
	if err != nil {
		return 0, "", nil, errors.New("its answer broke off")
	}
	return response.StatusCode, response.Header.Get("Content-Type"), answer, nil
}

// textOf answers the text of a signed note that we made: it ends before the empty line.
func textOf(checkpoint []byte) string {
	text, _, _ := strings.Cut(string(checkpoint), "\n\n")
	return text + "\n"
}

func firstLine(checkpoint []byte) string {
	line, _, _ := strings.Cut(string(checkpoint), "\n")
	return line
}
