package engine

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Query runs one statement over the HTTP interface of an engine and copies the answer to w (nil: nowhere). The address
// is host:port. It is for the operator's shell and for the engine's own start and stop; everything else speaks the
// native protocol. A fault of the statement is the engine's own text.
func Query(ctx context.Context, address, user, password, statement string, w io.Writer) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/", strings.NewReader(statement))
	if err != nil {
		return err
	}
	request.Header.Set("X-ClickHouse-User", user)
	request.Header.Set("X-ClickHouse-Key", password)
	request.Close = true // an idle connection would hold up the engine's stop
	transport := &http.Transport{Proxy: nil, DisableKeepAlives: true}
	answer, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return fmt.Errorf("ask the engine: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
		return fmt.Errorf("the engine refused: %s", strings.TrimSpace(string(text)))
	}
	if w == nil {
		w = io.Discard
	}
	if _, err := io.Copy(w, answer.Body); err != nil {
		return fmt.Errorf("read the engine's answer: %w", err)
	}
	return nil
}
