"""Long-lived services of pipelines, Triton among them: started, shared, watched, ended."""
