"""The streams of the cluster in Redis. Nothing else imports redis."""
