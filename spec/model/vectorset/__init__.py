"""What `spec/vectors/link-more.json` holds: one module per area, all from the same inputs."""
