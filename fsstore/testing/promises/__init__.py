"""The promises of `PersistenceEngine`: a module a topic, a test a promise. Nothing here knows any engine."""
