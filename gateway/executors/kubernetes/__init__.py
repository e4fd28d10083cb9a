"""The Kubernetes engine: a job is one Pod."""
