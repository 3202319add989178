"""What is known of clusters and nodes: events from a CSV file or the spool, and the usage records made of them."""
