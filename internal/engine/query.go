package engine

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Query runs one statement over the HTTP interface of an engine and copies the answer to w (nil: nowhere). The address
// is host:port; the answer is tab-separated, or in the format that the statement names. It is for the operator's shell and for the engine's own start and stop; everything else speaks the
// native protocol. A fault of the statement is the engine's own text.
func Query(ctx context.Context, address, user, password, statement string, w io.Writer) error {
	return query(ctx, address, user, password, "", statement, "", w)
}

// Query runs one statement as one of the engine's users, in a database (empty: the engine's default one), and copies the answer
// to w in a format that ClickHouse knows, such as PrettyCompact, unless the statement names another.
func (r *Running) Query(ctx context.Context, user, database, statement, format string, w io.Writer) error {
	name, password := r.Credentials(user)
	return query(ctx, r.HTTPAddress, name, password, database, statement, format, w)
}

func query(ctx context.Context, address, user, password, database, statement, format string, w io.Writer) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/", strings.NewReader(statement))
	if err != nil {
		return err
	}
	request.Header.Set("X-ClickHouse-User", user)
	request.Header.Set("X-ClickHouse-Key", password)
	if database != "" {
		request.Header.Set("X-ClickHouse-Database", database)
	}
	if format != "" {
		request.Header.Set("X-ClickHouse-Format", format)
	}
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
