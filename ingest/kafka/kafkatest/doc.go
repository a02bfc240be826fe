// Package kafkatest starts Kafka for tests: StartFake one in the process (franz-go's kfake, the real protocol on
// loopback), StartApache a single node of Apache Kafka itself from the jars that "make test-kafka" brings. Both offer the
// same listeners (in the clear, with SASL, with TLS) and can be stopped and started again with their data.
//
// Only tests import it.
package kafkatest
