"""RabbitMQ for development and tests: its configuration, made from settings."""
