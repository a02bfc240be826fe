package main

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// A configFault is one thing that is wrong with a configuration.
type configFault struct {
	Line    int    `json:"line,omitempty"` // from 1; 0: the fault is in a value that is not in the file
	Column  int    `json:"column,omitempty"`
	Section string `json:"section,omitempty"`
	Message string `json:"message"` // begins with the key within the section, where it is about one
}

func (f *configFault) Error() string {
	text := f.Message
	if f.Section != "" {
		text = f.Section + ": " + text
	}
	if f.Line > 0 {
		text = fmt.Sprintf("line %d, column %d: %s", f.Line, f.Column, text)
	}
	return text
}

func (f *configFault) at(t *token.Token) *configFault {
	if t != nil && t.Position != nil {
		f.Line, f.Column = t.Position.Line, t.Position.Column
	}
	return f
}

// leaves answers the errors that were joined into err, in order. What a joint stood behind stands before each of them.
func leaves(err error) []error {
	switch e := err.(type) {
	case nil:
		return nil
	case interface{ Unwrap() []error }:
		var all []error
		var text []string
		for _, each := range e.Unwrap() {
			text = append(text, each.Error())
			all = append(all, leaves(each)...)
		}
		if strings.Join(text, "\n") != err.Error() {
			return []error{err} // one sentence of several
		}
		return all
	case interface{ Unwrap() error }:
		inner := leaves(e.Unwrap())
		prefix, ok := strings.CutSuffix(err.Error(), fmt.Sprint(e.Unwrap()))
		if len(inner) < 2 || !ok {
			return []error{err}
		}
		for i := range inner {
			inner[i] = fmt.Errorf("%s%w", prefix, inner[i])
		}
		return inner
	default:
		return []error{err}
	}
}

// sectionFaults makes the faults of a section of err, each once and without the section's own name.
func sectionFaults(section string, err error) []*configFault {
	var faults []*configFault
	for _, e := range leaves(err) {
		message := strings.TrimPrefix(strings.TrimPrefix(e.Error(), section+"."), section+": ")
		faults = append(faults, &configFault{Section: section, Message: message})
	}
	return faults
}

// keyPart is how a message goes on to name a key: from the section down, as sources[1].tenant or sources[1]: tenant.
var keyPart = regexp.MustCompile(`^(?:\[(\d+)\]|(?:\.|: )?([a-z0-9_]+))`)

// keyOf is the key that a message begins with, as far as has says that there is one: the first part unasked.
func keyOf(message string, has func(key string, index int) bool) {
	for rest := message; ; {
		m := keyPart.FindStringSubmatch(rest)
		if m == nil {
			return
		}
		index, err := strconv.Atoi(m[1])
		if err != nil {
			index = -1
		}
		if !has(m[2], index) {
			return
		}
		rest = rest[len(m[0]):]
	}
}

// place gives f the line of what its message is about: of the key, or of the last one on the way to it that is in the file.
func (f *configFault) place(sections []*ast.MappingValueNode) {
	var node ast.Node
	for _, s := range sections {
		if s.Key.GetToken().Value == f.Section {
			node = s.Value
			f.at(s.Key.GetToken())
		}
	}
	keyOf(f.Message, func(key string, index int) bool {
		if list, ok := bare(node).(*ast.SequenceNode); ok && index >= 0 && index < len(list.Values) {
			node = list.Values[index]
			f.at(firstToken(node))
			return true
		}
		for _, v := range pairs(node) {
			if index < 0 && v.Key.GetToken().Value == key {
				node = v.Value
				f.at(v.Key.GetToken())
				return true
			}
		}
		return false
	})
}

// bare is node without the anchor or tag around it.
func bare(node ast.Node) ast.Node {
	switch n := node.(type) {
	case *ast.AnchorNode:
		return bare(n.Value)
	case *ast.TagNode:
		return bare(n.Value)
	}
	return node
}

// pairs are the keys and values of a mapping; none of anything else.
func pairs(node ast.Node) []*ast.MappingValueNode {
	switch n := bare(node).(type) {
	case *ast.MappingNode:
		return n.Values
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}
	}
	return nil
}

func firstToken(node ast.Node) *token.Token {
	if all := pairs(node); len(all) > 0 {
		return all[0].Key.GetToken()
	}
	return node.GetToken()
}

// formFaults are the faults of a node that does not fit a type, each at its place. path leads to the node within its section. Where
// the file uses aliases, a part of it can't be read for itself, and the first fault of all is the only one.
func formFaults(section, path string, node ast.Node, t reflect.Type, err error) []*configFault {
	own := yamlFault(section, err)
	if hasAlias(node) {
		return []*configFault{own}
	}
	inside := func(child ast.Node, at string, t reflect.Type) []*configFault {
		if _, empty := child.(*ast.NullNode); empty {
			return nil
		}
		err := yaml.NewDecoder(strings.NewReader(""), yaml.Strict()).DecodeFromNode(child, reflect.New(t).Interface())
		if err == nil {
			return nil
		}
		return formFaults(section, at, child, t, err)
	}
	var faults []*configFault
	list, isList := bare(node).(*ast.SequenceNode)
	switch {
	case isText(t):
	case t.Kind() == reflect.Struct:
		fields := yamlFields(t)
		for _, v := range pairs(node) {
			key := v.Key.GetToken()
			field, ok := fields[key.Value]
			if !ok {
				faults = append(faults, (&configFault{Section: section, Message: fmt.Sprintf("unknown field %q", key.Value)}).at(key))
				continue
			}
			faults = append(faults, inside(v.Value, strings.TrimPrefix(path+"."+key.Value, "."), field)...)
		}
	case t.Kind() == reflect.Map:
		for _, v := range pairs(node) {
			faults = append(faults, inside(v.Value, path+"."+v.Key.GetToken().Value, t.Elem())...)
		}
	case t.Kind() == reflect.Slice && isList:
		for i, v := range list.Values {
			faults = append(faults, inside(v, fmt.Sprintf("%s[%d]", path, i), t.Elem())...)
		}
	case t.Kind() == reflect.Pointer:
		return formFaults(section, path, node, t.Elem(), err)
	}
	if len(faults) > 0 {
		return faults
	}
	if message := needed(t, bare(node)); message != "" {
		own.Message = strings.TrimPrefix(path+": "+message, ": ")
	} else if path != "" && own.Line == 0 {
		own.Message = path + ": " + own.Message
	}
	return []*configFault{own.at(node.GetToken())}
}

func hasAlias(node ast.Node) bool {
	found := false
	ast.Walk(visitor(func(n ast.Node) bool {
		switch n.(type) {
		case *ast.AliasNode, *ast.MergeKeyNode:
			found = true
		}
		return !found
	}), node)
	return found
}

type visitor func(ast.Node) bool

func (v visitor) Visit(n ast.Node) ast.Visitor {
	if v(n) {
		return v
	}
	return nil
}

// yamlFields are the types of a struct's fields by key, those of inlined structs among them.
func yamlFields(t reflect.Type) map[string]reflect.Type {
	fields := map[string]reflect.Type{}
	for f := range t.Fields() {
		name, option, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if option == "inline" {
			for k, v := range yamlFields(f.Type) {
				fields[k] = v
			}
			continue
		}
		fields[name] = f.Type
	}
	return fields
}

// isText says whether a type reads text by rules of its own.
func isText(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// needed says in words what a type needs where node is; "" where the type says it itself.
func needed(t reflect.Type, node ast.Node) string {
	_, scalar := node.(ast.ScalarNode)
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return "a duration is needed, such as 90s, 15m or 24h"
	case isText(t):
		if scalar {
			return ""
		}
		return "text is needed"
	}
	switch t.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if digits := strings.TrimLeft(node.GetToken().Value, "+-"); scalar && digits != "" && strings.Trim(digits, "0123456789") == "" {
			return "the number is too large, or below 0 where that can't be"
		}
		return "a whole number is needed"
	case reflect.Float32, reflect.Float64:
		return "a number is needed"
	case reflect.Bool:
		return "true or false is needed"
	case reflect.String:
		return "text is needed"
	case reflect.Slice:
		return "a list is needed"
	case reflect.Struct, reflect.Map:
		return "a mapping of keys is needed"
	}
	return ""
}

// yamlFault keeps the place and the message of a YAML error, and drops the source lines that it would print: somebody may
// have written a secret there.
func yamlFault(section string, err error) *configFault {
	f := &configFault{Section: section, Message: err.Error()}
	var y yaml.Error
	if errors.As(err, &y) {
		f.Message = y.GetMessage()
		f.at(y.GetToken())
	}
	return f
}
