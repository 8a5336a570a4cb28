"""Replication: logs, admission, merging, digests and deltas. Knows nothing of members or of message bytes."""
