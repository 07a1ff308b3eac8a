package boot

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"
)

// Parse parses a command line. It prints the flags when they are asked for;
// what is wrong with the line is in the error, for Exit to tell.
func Parse(fs *flag.FlagSet, args []string) error {
	usage := fs.Usage
	fs.Usage = func() {}
	fs.SetOutput(io.Discard)
	err := fs.Parse(args)
	fs.Usage = usage
	fs.SetOutput(os.Stdout)
	if errors.Is(err, flag.ErrHelp) {
		if usage == nil {
			usage = func() {
				fmt.Fprintf(fs.Output(), "Usage: %s [flags]\n\n", fs.Name())
				fs.PrintDefaults()
			}
		}
		usage()
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUsage, err)
	}
	return nil
}

// envPrefix begins the environment variables that configure freshet.
const envPrefix = "FRESHET_"

// ErrUsage is wrapped by errors that the caller of a command has made; they
// have been explained to him.
var ErrUsage = errors.New("usage")

// Load fills the flags of fs: from the command line, else from FRESHET_*
// environment variables, else from the YAML file named by --config, else the
// default. A key or variable that is not a flag of fs is an error, so that a
// misspelt setting is not silently without effect. Variables of other
// freshet commands must therefore not be set; FRESHET_CONFIG names the file.
//
// A repeatable flag takes a list in YAML and a list separated by commas in a
// variable.
func Load(fs *flag.FlagSet, args, environ []string) error {
	config := fs.String("config", "", "YAML file with the same keys as these flags")
	if err := Parse(fs, args); err != nil {
		return err
	}
	given := make(map[string]bool)
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })

	fromEnv := koanf.New("")
	if err := fromEnv.Load(env.Provider("", env.Opt{
		Prefix: envPrefix,
		TransformFunc: func(k, v string) (string, any) {
			return strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(k, envPrefix)), "_", "-"), v
		},
		EnvironFunc: func() []string { return environ },
	}), nil); err != nil {
		return fmt.Errorf("reading the environment: %w", err)
	}
	if !given["config"] && fromEnv.Exists("config") {
		*config = fromEnv.String("config")
	}
	fromFile := koanf.New("")
	if *config != "" {
		if err := fromFile.Load(file.Provider(*config), yaml.Parser()); err != nil {
			return fmt.Errorf("reading %s: %w", *config, err)
		}
	}
	for _, source := range []struct {
		k    *koanf.Koanf
		name func(key string) string
	}{
		{fromEnv, func(key string) string { return envPrefix + strings.ToUpper(strings.ReplaceAll(key, "-", "_")) }},
		{fromFile, func(key string) string { return *config + ": " + key }},
	} {
		for key, value := range source.k.Raw() {
			f := fs.Lookup(key)
			if f == nil {
				return fmt.Errorf("%w: %s is not a setting of %s", ErrUsage, source.name(key), fs.Name())
			}
			if given[key] {
				continue
			}
			given[key] = true
			for _, v := range values(f, value) {
				if err := f.Value.Set(v); err != nil {
					return fmt.Errorf("%w: %s: %w", ErrUsage, source.name(key), err)
				}
			}
		}
	}
	return nil
}

// values turns a configured value into the arguments of Set.
func values(f *flag.Flag, value any) []string {
	_, repeatable := f.Value.(*listValue)
	switch v := value.(type) {
	case []any:
		s := make([]string, len(v))
		for i := range v {
			s[i] = fmt.Sprint(v[i])
		}
		return s
	case string:
		if repeatable {
			return strings.FieldsFunc(v, func(r rune) bool { return r == ',' })
		}
	}
	return []string{fmt.Sprint(value)}
}

// listValue is a flag that may be given more than once.
type listValue struct{ values []string }

func (l *listValue) String() string { return strings.Join(l.values, ",") }

func (l *listValue) Set(s string) error {
	l.values = append(l.values, s)
	return nil
}

// list defines a repeatable flag.
func list(fs *flag.FlagSet, name, usage string) *[]string {
	l := new(listValue)
	fs.Var(l, name, usage)
	return &l.values
}
