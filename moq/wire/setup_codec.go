package wire

import (
	"slices"

	"github.com/freshet-live/freshet/moq"
)

// optionCodec is how drafts encode and decode one Setup Option. Options are
// Key-Value-Pairs.
type optionCodec struct {
	typ OptionType
	// append returns the option as one pair for each time it is present.
	append func(*encoder, *Setup) []moq.Property
	parse  func(*decoder, *Setup, moq.Property)
	// repeats tells that a SETUP may carry it more than once.
	repeats bool
}

func textOption(typ OptionType, field func(*Setup) **string) optionCodec {
	return optionCodec{
		typ: typ,
		append: func(_ *encoder, m *Setup) []moq.Property {
			s := *field(m)
			if s == nil {
				return nil
			}
			return []moq.Property{{Bytes: []byte(*s)}}
		},
		parse: func(_ *decoder, m *Setup, v moq.Property) {
			s := string(v.Bytes)
			*field(m) = &s
		},
	}
}

func numberOption(typ OptionType, field func(*Setup) *uint64) optionCodec {
	return optionCodec{
		typ: typ,
		append: func(_ *encoder, m *Setup) []moq.Property {
			v := *field(m)
			if v == 0 {
				return nil
			}
			return []moq.Property{{Value: v}}
		},
		parse: func(_ *decoder, m *Setup, v moq.Property) { *field(m) = v.Value },
	}
}

var options18 = []optionCodec{
	textOption(OptionPath, func(m *Setup) **string { return &m.Path }),
	{
		typ:     OptionAuthorizationToken,
		repeats: true,
		append: func(e *encoder, m *Setup) (pairs []moq.Property) {
			for _, t := range m.Tokens {
				pairs = append(pairs, moq.Property{Bytes: e.token(t)})
			}
			return pairs
		},
		parse: func(d *decoder, m *Setup, v moq.Property) { m.Tokens = append(m.Tokens, d.token(v.Bytes)) },
	},
	numberOption(OptionMaxAuthTokenCacheSize, func(m *Setup) *uint64 { return &m.MaxAuthTokenCacheSize }),
	textOption(OptionAuthority, func(m *Setup) **string { return &m.Authority }),
	{
		typ: OptionImplementation,
		append: func(_ *encoder, m *Setup) []moq.Property {
			if m.Implementation == "" {
				return nil
			}
			return []moq.Property{{Bytes: []byte(m.Implementation)}}
		},
		parse: func(_ *decoder, m *Setup, v moq.Property) { m.Implementation = string(v.Bytes) },
	},
}

var options19 = append(slices.Clone(options18),
	numberOption(OptionMaxFilterRanges, func(m *Setup) *uint64 { return &m.MaxFilterRanges }),
	numberOption(OptionMaxRequestUpdates, func(m *Setup) *uint64 { return &m.MaxRequestUpdates }),
)

func (r *rules) option(t OptionType) *optionCodec {
	for i := range r.options {
		if r.options[i].typ == t {
			return &r.options[i]
		}
	}
	return nil
}

func appendSetup(e *encoder, m *Setup) { e.properties(e.options(m)) }

// options returns the Setup Options of m that the draft has.
func (e *encoder) options(m *Setup) moq.Properties {
	pairs := slices.Clone(m.Unknown)
	for _, v := range m.Unknown {
		if e.rules.option(OptionType(v.Type)) != nil {
			e.fail("option %#x is not unknown", v.Type)
		}
	}
	for i := range e.rules.options {
		o := &e.rules.options[i]
		for _, v := range o.append(e, m) {
			v.Type = uint64(o.typ)
			pairs = append(pairs, v)
		}
	}
	return pairs
}

func parseSetup(d *decoder) *Setup {
	m := new(Setup)
	pairs, err := parseProperties(d.take(uint64(d.remaining())), form{})
	if err != nil {
		d.fail(err)
		return m
	}
	d.options(m, pairs)
	return m
}

// options puts Setup Options where they belong.
func (d *decoder) options(m *Setup, pairs moq.Properties) {
	var seen uint64 // every defined type is below 64
	for _, v := range pairs {
		o := d.rules.option(OptionType(v.Type))
		if o == nil {
			m.Unknown = append(m.Unknown, v)
			continue
		}
		if seen&(1<<v.Type) != 0 && !o.repeats {
			d.fail(violation("option %#x repeats", v.Type))
		}
		seen |= 1 << v.Type
		o.parse(d, m, v)
	}
}
