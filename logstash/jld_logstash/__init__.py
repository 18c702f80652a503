"""Log collector: Beats protocol in, disk spool, RabbitMQ out."""
