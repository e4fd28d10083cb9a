"""The Argo engine: a job is one Workflow."""
