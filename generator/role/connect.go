package role

import (
	"fmt"
	"strings"
)

// Login is how an application gets into the database.
type Login struct {
	Database, User string
	Role           string // whose secrets have the password
	Entry          string // what it is named there
}

// Connect is a command that runs one SQL statement with a login, at a port of
// hosts, which may be proxies; options are further ones of libpq. It is run in
// the folder of the spec.
func (c *Cluster) Connect(login *Login, hosts []Node, port int, options, statement string) string {
	var names []string
	for _, n := range hosts {
		names = append(names, n.Host(c))
	}
	return fmt.Sprintf(`PGPASSWORD=$(jq -r '.[] | select(.key == "%s").text_value' secrets/%s/%s.json) \
  psql "host=%s port=%d dbname=%s user=%s%s sslmode=verify-full sslrootcert=secrets/%s/ca.crt" -c '%s'`,
		login.Entry, c.Name, login.Role, strings.Join(names, ","), port, login.Database, login.User, options, c.Name, statement)
}
