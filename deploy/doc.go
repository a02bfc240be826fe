// Package deploy holds no code: it is the folder of what runs tillsyn elsewhere, and the tests that read it.
//
// It promises that what lies here fits the rest of the house: the ClickHouse users have the grants of schemas/grants and
// no others, a service has the secret of its own user only and the folders that its task needs, every image is pinned, every service has a health check or ends by itself, no secret stands in a file or an
// environment variable, nothing listens beyond loopback, and every file that is named exists.
//
// It refuses to publish ports beyond loopback and to run anything as root or on a writable image.
//
//	tillsyn.example.yaml  the configuration that 'tillsyn config init' writes
//	Dockerfile            the image of tillsyn, for use with a ClickHouse server
//	compose/              configuration and secrets of docker-compose.yml, which stands at the top
//	clickhouse/           configuration and users of the ClickHouse server
//	prometheus/           alerts, in English and Swedish
//	systemd/              one machine without containers
package deploy
