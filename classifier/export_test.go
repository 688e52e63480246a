package classifier

// CheckBuiltin runs the examples of the embedded file, which Check cannot: its ids would stand twice.
func CheckBuiltin(data []byte) (examples int, faults []Fault) {
	p := parseFile(File{BuiltinFile, data})
	if p.faults != nil {
		return 0, p.faults
	}
	r := Builtin()
	for _, ru := range r.rules {
		n, found := r.runExamples(ru)
		examples += n
		faults = append(faults, found...)
	}
	return examples, faults
}
