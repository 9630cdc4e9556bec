package operate

import (
	"encoding/csv"
	"errors"
	"slices"
	"strings"
)

// readStatistics reads HAProxy's statistics as CSV (its Management Guide, 9.1).
// Writers go to the servers of the backend primary that are up; a node that
// answers and does not lead is NOLB there, which takes no new session.
func readStatistics(text string) (writers, readers []string, err error) {
	rows, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(text, "# "))).ReadAll()
	if err != nil || len(rows) == 0 {
		return nil, nil, errors.New("answers with something else than HAProxy's statistics")
	}
	backend, server, status := slices.Index(rows[0], "pxname"), slices.Index(rows[0], "svname"), slices.Index(rows[0], "status")
	if backend < 0 || server < 0 || status < 0 {
		return nil, nil, errors.New("answers with something else than HAProxy's statistics")
	}
	for _, row := range rows[1:] {
		up := row[status] == "UP" || strings.HasPrefix(row[status], "UP ") // "UP 1/2": it fails its checks now
		switch {
		case !up || row[server] == "BACKEND" || row[server] == "FRONTEND":
		case row[backend] == "primary":
			writers = append(writers, row[server])
		case row[backend] == "replicas":
			readers = append(readers, row[server])
		}
	}
	return writers, readers, nil
}
