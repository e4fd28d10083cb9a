"""Run by NVIDIA's client's interpreter: what it makes of GPUs, as JSON."""

from __future__ import annotations

import json
import sys
from typing import Any

from nvidia_clara.clara_client import ClaraClient


def plain(details: Any) -> list[dict[str, Any]]:
    """One answer without the client's classes."""
    return [
        {
            "pcie_id": gpu.pcie_id,
            "compute": gpu.compute_utilization,
            "memory": [gpu.memory_used, gpu.memory_free, gpu.memory_utilization],
            "processes": [
                [process.name, process.job_id.value if process.job_id else None]
                for process in gpu.process_details
            ],
        }
        for gpu in details.gpu_metrics
    ]


def main() -> None:
    """One snapshot, and the first two answers of a stream."""
    client = ClaraClient(sys.argv[1])
    listed = [plain(details) for details in client.list_utilization()]
    stream = client.stream_utilization()
    streamed = [plain(next(stream)) for _ in range(2)]
    stream.close()
    sys.stdout.write(json.dumps({"listed": listed, "streamed": streamed}))


main()
