"""The container executor: every operator is a container of Docker or Podman on this machine."""
