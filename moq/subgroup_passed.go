package moq

// Passed returns how many Objects of the Subgroup lie behind the reader: those
// it has returned, and those before its start. After the first Next it is 1
// exactly when that Object is the first one that the Subgroup has here.
func (r *SubgroupReader) Passed() int { return r.pos }
