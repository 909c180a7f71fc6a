"""The event log on Apache Kafka: the production plane."""
