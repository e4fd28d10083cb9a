"""Clara's platform API over gRPC: jobs, payloads, pipelines, models, and the platform itself.

Servicers are thin: they check what a caller sent, call the rooms below, and answer.  Package,
services and field numbers are Clara's, so programs written for Clara run unchanged.
"""
