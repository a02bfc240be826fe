package clickhouse

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A word is a token of SQL with its place in the text. Strings, quoted names and numbers are kept whole.
type word struct {
	text       string
	start, end int
}

// scan cuts a text into its tokens by the rules of ClickHouse's own lexer (src/Parsers/Lexer.cpp): comments are -- and
// #! and "# " to the end of the line and /* */ without nesting; '...', "..." and `...` know backslash and doubled quotes;
// $tag$...$tag$ is a string. Comments and white space are no tokens. What does not end is an error.
func scan(sql string) ([]word, error) {
	var words []word
	for i := 0; i < len(sql); {
		start := i
		c := sql[i]
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v':
			i++
			continue
		case strings.HasPrefix(sql[i:], "--"), strings.HasPrefix(sql[i:], "#!"), strings.HasPrefix(sql[i:], "# "):
			n := strings.IndexByte(sql[i:], '\n')
			if n < 0 {
				n = len(sql) - i
			}
			i += n
			continue
		case strings.HasPrefix(sql[i:], "/*"):
			n := strings.Index(sql[i+2:], "*/")
			if n < 0 {
				return nil, fmt.Errorf("line %d: a /* comment does not end", line(sql, start))
			}
			i += n + 4
			continue
		case c == '\'' || c == '"' || c == '`':
			end := quoted(sql, i)
			if end < 0 {
				return nil, fmt.Errorf("line %d: a %c does not end", line(sql, start), c)
			}
			i = end
		case c == '$' && heredoc(sql[i:]) != "":
			tag := heredoc(sql[i:])
			n := strings.Index(sql[i+len(tag):], tag)
			if n < 0 {
				return nil, fmt.Errorf("line %d: a %s does not end", line(sql, start), tag)
			}
			i += n + 2*len(tag)
		case isWord(c):
			for i < len(sql) && isWord(sql[i]) {
				i++
			}
		default:
			i++
		}
		words = append(words, word{sql[start:i], start, i})
	}
	return words, nil
}

func isWord(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c >= 0x80
}

// quoted answers where the quote that opens at i ends, or -1.
func quoted(sql string, i int) int {
	q := sql[i]
	for i++; i < len(sql); i++ {
		switch {
		case sql[i] == '\\':
			i++
		case sql[i] == q && i+1 < len(sql) && sql[i+1] == q:
			i++
		case sql[i] == q:
			return i + 1
		}
	}
	return -1
}

// heredoc answers the $tag$ that s begins with, or nothing.
func heredoc(s string) string {
	for i := 1; i < len(s); i++ {
		if s[i] == '$' {
			return s[:i+1]
		}
		if !isWord(s[i]) {
			break
		}
	}
	return ""
}

func line(sql string, at int) int { return 1 + strings.Count(sql[:at], "\n") }

// A statement is one SQL statement of a file.
type statement struct {
	text  string // without the closing semicolon and the comments around it
	line  int    // where it begins, from 1
	words []word
}

// Statements cuts a text of SQL at its semicolons, not at those in strings, names and comments. A statement keeps the
// comments inside it and loses those around it; empty ones are left out.
func Statements(sql string) ([]string, error) {
	list, err := split(sql)
	if err != nil {
		return nil, err
	}
	texts := make([]string, len(list))
	for i, s := range list {
		texts[i] = s.text
	}
	return texts, nil
}

func split(sql string) ([]statement, error) {
	words, err := scan(sql)
	if err != nil {
		return nil, err
	}
	var list []statement
	for len(words) > 0 {
		n := slices.IndexFunc(words, func(w word) bool { return w.text == ";" })
		if n < 0 {
			n = len(words)
		}
		if n > 0 {
			first, last := words[0], words[n-1]
			list = append(list, statement{sql[first.start:last.end], line(sql, first.start), words[:n]})
		}
		words = words[min(n+1, len(words)):]
	}
	return list, nil
}

// single answers the only statement of a query file.
func single(sql string) (string, error) {
	list, err := Statements(sql)
	if err != nil {
		return "", err
	}
	if len(list) != 1 {
		return "", fmt.Errorf("the query has %d statements, it must have one", len(list))
	}
	return list[0], nil
}

// repeatable says why a statement of a migration may not be run twice; nil: it may.
// Refused for other reasons: materialized views (an insert would be several parts), DROP TABLE (leaves its bytes behind, and
// SYNC hangs in the embedded engine), mutations (keep their literals in clear), and anything that writes rows.
func (s statement) repeatable() error {
	w := make([]string, len(s.words))
	for i := range s.words {
		w[i] = strings.ToUpper(s.words[i].text)
	}
	begins := func(at int, words ...string) bool {
		return at >= 0 && len(w) >= at+len(words) && slices.Equal(w[at:at+len(words)], words)
	}
	if slices.Contains(w, "MATERIALIZED") && begins(0, "CREATE") && slices.Index(w, "MATERIALIZED") < 4 && slices.Contains(w[:min(5, len(w))], "VIEW") {
		return errors.New("materialized views break the rule of one insert, one part")
	}
	for _, ok := range [][]string{
		{"CREATE", "TABLE", "IF", "NOT", "EXISTS"},
		{"CREATE", "VIEW", "IF", "NOT", "EXISTS"},
		{"CREATE", "OR", "REPLACE", "VIEW"},
		{"CREATE", "DICTIONARY", "IF", "NOT", "EXISTS"},
		{"CREATE", "OR", "REPLACE", "DICTIONARY"},
		{"CREATE", "FUNCTION", "IF", "NOT", "EXISTS"},
		{"CREATE", "OR", "REPLACE", "FUNCTION"},
		{"DROP", "VIEW", "IF", "EXISTS"},
		{"DROP", "DICTIONARY", "IF", "EXISTS"},
		{"DROP", "FUNCTION", "IF", "EXISTS"},
	} {
		if begins(0, ok...) {
			return nil
		}
	}
	if !begins(0, "ALTER", "TABLE") {
		return errors.New("it is none of CREATE ... IF NOT EXISTS, CREATE OR REPLACE VIEW, DROP VIEW IF EXISTS, ALTER TABLE")
	}
	list := actions(w)
	for i, action := range list {
		if i > 0 && len(action) == 3 && action[1] == "=" && slices.Equal(list[0][:min(2, len(list[0]))], []string{"MODIFY", "SETTING"}) {
			continue // MODIFY SETTING a = 1, b = 2
		}
		if !slices.ContainsFunc([][]string{
			{"ADD", "COLUMN", "IF", "NOT", "EXISTS"},
			{"ADD", "INDEX", "IF", "NOT", "EXISTS"},
			{"ADD", "PROJECTION", "IF", "NOT", "EXISTS"},
			{"ADD", "CONSTRAINT", "IF", "NOT", "EXISTS"},
			{"DROP", "COLUMN", "IF", "EXISTS"},
			{"DROP", "INDEX", "IF", "EXISTS"},
			{"DROP", "PROJECTION", "IF", "EXISTS"},
			{"DROP", "CONSTRAINT", "IF", "EXISTS"},
			{"RENAME", "COLUMN", "IF", "EXISTS"},
			{"COMMENT", "COLUMN"},
			{"MODIFY", "COMMENT"},
			{"MODIFY", "COLUMN"},
			{"MODIFY", "SETTING"},
			{"MODIFY", "ORDER", "BY"},
			{"MODIFY", "TTL"},
			{"REMOVE", "TTL"},
		}, func(ok []string) bool { return len(action) >= len(ok) && slices.Equal(action[:len(ok)], ok) }) {
			return fmt.Errorf("ALTER TABLE ... %s can't be repeated: add IF [NOT] EXISTS", strings.Join(action[:min(2, len(action))], " "))
		}
	}
	return nil
}

// actions cuts an ALTER TABLE at the commas between its actions and leaves the table's name out.
func actions(w []string) [][]string {
	i := 3 // ALTER TABLE name
	for i+1 < len(w) && w[i] == "." {
		i += 2
	}
	if i+2 < len(w) && w[i] == "ON" && w[i+1] == "CLUSTER" {
		i += 3
	}
	var list [][]string
	depth, start := 0, min(i, len(w))
	for i := start; i <= len(w); i++ {
		switch {
		case i == len(w) || w[i] == "," && depth == 0:
			action := w[start:i]
			for len(action) > 0 && action[0] == "(" {
				action = action[1:]
			}
			list = append(list, action)
			start = i + 1
		case w[i] == "(":
			depth++
		case w[i] == ")":
			depth--
		}
	}
	return list
}
