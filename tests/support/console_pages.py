"""The addresses of every page of the console in a world."""

from __future__ import annotations

from tests.support.console_world import World


def pages(world: World) -> dict[str, str]:
    """Name to path; a page of a record stands for all of its kind."""
    lung, odd, slow = world.job("LUNG_CT"), world.job("ODD"), world.job("SLOW")
    conflict = world.site.items("payloads", state="CONFLICT")
    held = conflict or world.site.items("payloads", called_ae="AWAY")
    rejected = world.site.items("associations", state="REJECTED")[0]
    sent = world.site.items("results", destination="PACS")[0]
    away = world.site.items("results", destination="ARCHIVE")[0]
    return {
        "overview": "/",
        "studies": "/studies",
        "study": f"/studies/{lung['received_payload_id']}",
        "conflict": f"/studies/{held[0]['id']}",
        "quarantine": "/studies/quarantine",
        "jobs": "/jobs",
        "job": f"/jobs/{lung['id']}",
        "job-failed": f"/jobs/{odd['id']}",
        "job-running": f"/jobs/{slow['id']}",
        "pipelines": "/pipelines",
        "pipeline": "/pipelines/lung-density",
        "editor": "/pipelines/lung-density/edit",
        "rules": "/rules",
        "delivery": "/delivery",
        "result": f"/delivery/{sent['id']}",
        "result-waiting": f"/delivery/{away['id']}",
        "associations": "/associations",
        "association": f"/associations/{rejected['id']}",
        "system": "/system",
        "settings": "/system/settings",
        "licences": "/system/licences",
        "users": "/system/users",
        "tokens": "/system/tokens",
        "audit": "/system/audit",
        "account": "/system/account",
    }


NAMES = (
    "overview", "studies", "study", "conflict", "quarantine", "jobs", "job", "job-failed",
    "job-running", "pipelines", "pipeline", "editor", "rules", "delivery", "result",
    "result-waiting", "associations", "association", "system", "settings", "licences", "users",
    "tokens", "audit", "account",
)  # fmt: skip
"""Every page of :func:`pages`, known before there is a world."""
