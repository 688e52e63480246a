package configs

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	"github.com/prometheus/common/model"
	"github.com/spf13/viper"
	"go.yaml.in/yaml/v3"
)

// maxFile bounds the size of a configuration file.
const maxFile = 1 << 20

// prefix begins the environment variable of every key: PUSHDOCTOR_STORE_PATH is store.path.
const prefix = "PUSHDOCTOR_"

// Load returns the configuration of flags over environ over file over the defaults. file is a YAML file, or ""
// for none; environ is a list of NAME=value, as of os.Environ; flags holds values by key ("web.listen_address"), and a
// key that does not exist is a panic. Lists in environ and flags are separated by commas, and an empty variable is
// not set. The error is of type Faults where the configuration says something wrong: it
// then holds everything that is. Any other error is about reading the file, of at most 1 MB.
func Load(file string, environ []string, flags map[string]string) (Config, error) {
	l := newLoader()
	if file != "" {
		data, err := read(file)
		if err != nil {
			return Config{}, err
		}
		l.file(file, data)
	}
	token := l.environment(environ)
	l.flags(flags)

	c, err := l.decode()
	if err != nil {
		return Config{}, err
	}
	c.GitHub.Token = token
	// A key that could not be read has its default here, so it causes no second fault.
	for _, f := range c.faults() {
		f.Source, f.Line = l.place(f.Key)
		l.faults = append(l.faults, f)
	}
	if len(l.faults) > 0 {
		slices.SortStableFunc(l.faults, func(a, b Fault) int { return cmp.Compare(a.Line, b.Line) })
		return Config{}, l.faults
	}
	return c, nil
}

func read(file string) ([]byte, error) {
	// To open a pipe is to wait for its writer, and nothing breaks that off. A folder is refused by its first read.
	if info, err := os.Stat(file); err == nil && !info.Mode().IsRegular() && !info.IsDir() {
		return nil, fmt.Errorf("configuration: %s is no regular file", file)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	defer func() { _ = f.Close() }() // opened to read: nothing to lose
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("configuration: %s is larger than 1 MB", file)
	}
	return data, nil
}

// A place says where a value stands.
type place struct {
	source string // file or variable
	line   int
}

// A loader puts the layers one over the other. It checks each value itself before viper sees it,
// since viper tells neither the line nor more than its own kind of fault.
type loader struct {
	v      *viper.Viper
	types  map[string]reflect.Type // by key
	keys   []string                // of types and of the sections, sorted
	places map[string]place        // by key, section or item: of the layer that wins
	faults Faults
}

func newLoader() *loader {
	l := &loader{v: viper.New(), types: make(map[string]reflect.Type), places: make(map[string]place)}
	l.register("", reflect.ValueOf(Default()))
	slices.Sort(l.keys)
	return l
}

// register notes the keys of a section with their types, and gives viper the defaults.
func (l *loader) register(section string, v reflect.Value) {
	for field, value := range v.Fields() {
		name := field.Tag.Get("mapstructure")
		switch key := section + name; {
		case name == "-":
		case field.Type.Kind() == reflect.Struct:
			l.keys = append(l.keys, key)
			l.register(key+".", value)
		default:
			l.keys = append(l.keys, key)
			l.types[key] = field.Type
			l.v.SetDefault(key, value.Interface())
		}
	}
}

func (l *loader) decode() (c Config, err error) {
	if err := l.v.UnmarshalExact(&c, viper.DecodeHook(mapstructure.TextUnmarshallerHookFunc())); err != nil {
		return Config{}, fmt.Errorf("configuration: %w", err)
	}
	return c, nil
}

func (l *loader) fault(p place, key, format string, args ...any) {
	l.faults = append(l.faults, Fault{Source: p.source, Line: p.line, Key: key, Message: fmt.Sprintf(format, args...)})
}

// place returns where the value of key stands or, where it is a default, the section around it.
func (l *loader) place(key string) (source string, line int) {
	for key != "" {
		if p, ok := l.places[key]; ok {
			return p.source, p.line
		}
		key = key[:max(0, strings.LastIndexAny(key, ".["))]
	}
	return "", 0
}

// set puts a value that was checked over the layers below.
func (l *loader) set(key string, value any, p place) {
	maps.DeleteFunc(l.places, func(k string, _ place) bool { return strings.HasPrefix(k, key+"[") })
	l.places[key] = p
	l.v.Set(key, value)
}

func (l *loader) file(name string, data []byte) {
	dec := yaml.NewDecoder(strings.NewReader(string(data)))
	var doc yaml.Node
	err := dec.Decode(&doc)
	switch {
	case errors.Is(err, io.EOF):
		return // empty, or nothing but comments
	case err == nil:
		if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
			l.fault(place{source: name}, "", "holds more than one document; write one")
		}
	default:
		l.fault(place{source: name}, "", "%s", strings.TrimPrefix(err.Error(), "yaml: "))
		return
	}
	l.section(name, "", doc.Content[0])
}

// section reads a mapping whose keys begin with section.
func (l *loader) section(file, section string, n *yaml.Node) {
	name := strings.TrimSuffix(section, ".")
	if n.Kind != yaml.MappingNode {
		if n.ShortTag() != "!!null" {
			l.fault(place{file, n.Line}, name, "is not a mapping; write its keys below it, each as key: value")
		}
		return
	}
	seen := make(map[string]int)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		p := place{file, k.Line}
		key := section + k.Value
		_, known := slices.BinarySearch(l.keys, key)
		switch first, twice := seen[k.Value]; {
		case k.Kind != yaml.ScalarNode:
			l.fault(p, name, "holds a key that is no word; write key: value")
			continue
		case k.ShortTag() == "!!merge":
			l.fault(p, name, "merges an alias; write the keys themselves")
			continue
		case !known:
			l.unknown(p, key)
			continue
		case v.Kind == yaml.AliasNode:
			l.fault(p, key, "is an alias; write the value itself")
			continue
		case twice:
			l.fault(p, key, "stands there twice, first in line %d; remove one", first)
			continue
		}
		seen[k.Value] = k.Line

		t, leaf := l.types[key]
		switch {
		case !leaf:
			l.places[key] = p
			l.section(file, key+".", v)
		case v.Kind == yaml.ScalarNode && v.ShortTag() == "!!null": // the default stays
		case t.Kind() == reflect.Slice:
			l.list(file, key, p, v)
		case v.Kind != yaml.ScalarNode:
			l.fault(p, key, "is not a single value")
		default:
			l.scalar(key, p, t, v.Value)
		}
	}
}

func (l *loader) list(file, key string, p place, n *yaml.Node) {
	if n.Kind != yaml.SequenceNode {
		l.fault(p, key, "is not a list; write [a, b]")
		return
	}
	list := make([]string, len(n.Content))
	good := true
	for i, v := range n.Content {
		if v.Kind != yaml.ScalarNode || v.ShortTag() == "!!null" {
			l.fault(place{file, v.Line}, item(key, i), "is not a single value")
			good = false
		}
		list[i] = v.Value
	}
	if !good {
		return
	}
	l.set(key, list, p)
	for i, v := range n.Content {
		l.places[item(key, i)] = place{file, v.Line}
	}
}

// scalar sets key to what text says, or notes why it cannot.
func (l *loader) scalar(key string, p place, t reflect.Type, text string) {
	value, problem := parse(t, text)
	if problem != "" {
		l.fault(p, key, "%s %s", show(text), problem)
		return
	}
	l.set(key, value, p)
}

// parse returns the value of type t that text says, or what is wrong with it.
func parse(t reflect.Type, text string) (value any, problem string) {
	var err error
	switch t {
	case reflect.TypeFor[model.Duration]():
		problem = "is not a duration; write a number and a unit, such as 30s or 30d"
		if text == "0" { // model.ParseDuration takes it, alone of all bare numbers
			return nil, problem
		}
		value, err = model.ParseDuration(text)
	case reflect.TypeFor[Size]():
		problem = "is not a size; write a whole number and a unit, such as 256MB or 1GiB"
		var size Size
		err = size.UnmarshalText([]byte(text))
		value = size
	case reflect.TypeFor[string]():
		value = text
	case reflect.TypeFor[bool]():
		problem = "is neither true nor false"
		if text != "true" && text != "false" {
			return nil, problem
		}
		value = text == "true"
	case reflect.TypeFor[int]():
		problem = "is not a whole number"
		value, err = strconv.Atoi(text)
	case reflect.TypeFor[int64]():
		problem = "is not a whole number"
		value, err = strconv.ParseInt(text, 10, 64)
	case reflect.TypeFor[float64]():
		problem = "is not a number"
		value, err = strconv.ParseFloat(text, 64)
	case reflect.TypeFor[[]string]():
		list := []string{}
		for part := range strings.SplitSeq(text, ",") {
			if part = strings.TrimSpace(part); part != "" {
				list = append(list, part)
			}
		}
		value = list
	default:
		panic("configs: a key has type " + t.String())
	}
	if err != nil {
		return nil, problem
	}
	return value, ""
}

// environment reads the variables of keys, and returns GITHUB_TOKEN or else GH_TOKEN.
func (l *loader) environment(environ []string) Secret {
	keys := make(map[string]string)
	var names []string
	for key := range l.types {
		name := variable(key)
		keys[name] = key
		names = append(names, name)
	}
	slices.Sort(names)

	tokens := make(map[string]string)
	for _, pair := range slices.Sorted(slices.Values(environ)) { // the faults come in the same order each time
		name, text, _ := strings.Cut(pair, "=")
		key, known := keys[name]
		switch {
		case text == "":
		case name == "GITHUB_TOKEN" || name == "GH_TOKEN":
			tokens[name] = text
		case !strings.HasPrefix(name, prefix):
		case name == prefix+"GITHUB_TOKEN":
			l.fault(place{source: name}, "", "unknown variable; set GITHUB_TOKEN, or %s", variable("github.token_file"))
		case !known:
			// Others may be for another program: Kubernetes sets PUSHDOCTOR_PORT beside a service of our name.
			if near := suggestion(name, names); near != "" {
				l.fault(place{source: name}, "", "unknown variable%s", near)
			}
		default:
			l.scalar(key, place{source: name}, l.types[key], text)
		}
	}
	return NewSecret(cmp.Or(tokens["GITHUB_TOKEN"], tokens["GH_TOKEN"]))
}

func variable(key string) string {
	return prefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

func (l *loader) flags(flags map[string]string) {
	for _, key := range slices.Sorted(maps.Keys(flags)) {
		t, ok := l.types[key]
		if !ok {
			panic("configs: no key " + key)
		}
		l.scalar(key, place{source: "command line"}, t, flags[key])
	}
}

// unknown notes a key that does not exist. One that is no word may be a value in the wrong place, and is not repeated as it stands.
func (l *loader) unknown(p place, key string) {
	if show(key) != `"`+key+`"` {
		l.fault(p, "", "unknown key (not shown)")
		return
	}
	l.fault(p, key, "unknown key%s", l.suggest(key))
}

// suggest says which key may be meant by one that does not exist.
func (l *loader) suggest(key string) string {
	if key == "github.token" {
		return "; set GITHUB_TOKEN, or write the token to a file and name it in github.token_file"
	}
	if s := suggestion(key, l.keys); s != "" {
		return s
	}
	last := key[strings.LastIndex(key, ".")+1:]
	for _, k := range l.keys {
		if strings.HasSuffix(k, "."+last) {
			return fmt.Sprintf(", did you mean %q?", k)
		}
	}
	return ""
}
