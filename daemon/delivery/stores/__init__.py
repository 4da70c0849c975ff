"""Hub repositories and S3 buckets as sources: trainers may leave their model there and return its address."""
