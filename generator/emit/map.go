package emit

// Set is m with the key at value: replaced in its place, or added at the end.
func (m Map) Set(key string, value any) Map {
	for i := range m {
		if m[i].Key == key {
			m[i].Value = value
			return m
		}
	}
	return append(m, Pair{Key: key, Value: value})
}
