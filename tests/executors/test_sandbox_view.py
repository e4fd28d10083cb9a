"""What an operator sees: its paths and variables exactly, and nothing else."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

import gateway
from gateway.config.settings import ImageSettings

PROBE = """
import json, os, socket
def can(action):
    try:
        action()
    except OSError:
        return False
    return True
seen = {
    "root": sorted(os.listdir("/")),
    "input": [os.path.join(d, f) for d, _, fs in os.walk("/scans") for f in fs],
    "env": dict(os.environ),
    "pid": os.getpid(),
    "processes": [p for p in os.listdir("/proc") if p.isdigit()],
    "host_name": socket.gethostname(),
    "uid": os.getuid(),
    "interfaces": [n for _, n in socket.if_nameindex()],
    "connects": can(lambda: socket.create_connection(("127.0.0.1", int(os.environ["PORT"])), 2)),
    "writes": [p for p in ("/", "/usr", "/etc", "/scans", "/out/seg", "/tmp", "/dev/shm")
               if can(lambda: open(p + "/x", "w"))],
    "fds": len(os.listdir("/proc/self/fd")),
    "caps": [l.split()[1] for l in open("/proc/self/status") if l.startswith("CapEff")],
    "core": __import__("resource").getrlimit(4),
}
os.remove("/out/seg/x")
json.dump(seen, open("/out/seg/seen.json", "w"))
"""

OPERATOR = """
- name: Look
  container:
    image: test/python
    tag: 2
    variables: {PORT: PORTNUMBER, B: "two words; and 'more'"}
  input: [{path: /scans}, {path: /more/dcm, name: again}]
  output: [{path: /out/seg, name: seg}]
  variables: {A: 1}
  requests: {cpu: 1, memory: 256}
"""


def look(start, extra=""):
    with socket.create_server(("127.0.0.1", 0)) as server:
        text = OPERATOR.replace("PORTNUMBER", str(server.getsockname()[1])) + extra
        image = ImageSettings(command=["python", "-c", PROBE], env={"FROM_IMAGE": "yes", "A": "0"})
        job = start(text, images={"test/python:2": image})
        end = job.wait().ends["Look"]
    assert end.exit_code == 0, (end, job.log("Look"))
    return job, json.loads((job.output("Look") / "seg" / "seen.json").read_text())


def test_operator_sees_its_paths_and_nothing_else(start):
    os.environ["GATEWAY_TEST_MARK"] = "seen"
    try:
        job, seen = look(start)
    finally:
        del os.environ["GATEWAY_TEST_MARK"]
    assert seen["input"] == ["/scans/dcm/p/st/se/1.2.3.dcm"]
    system = {"bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr", "dev", "etc", "proc", "tmp"}
    own = {"scans", "more", "out"}
    interpreter = {os.path.realpath(p).split("/")[1] for p in (sys.prefix, sys.base_prefix)}
    code = {Path(gateway.__file__).parts[1]}
    assert own <= set(seen["root"]) <= system | own | interpreter | code
    assert seen["writes"] == ["/out/seg", "/tmp", "/dev/shm"]  # noqa: S108 - the operator's
    assert seen["pid"] < 10
    assert len(seen["processes"]) <= 3
    assert seen["host_name"] == "operator"
    assert seen["uid"] == 1000
    assert seen["caps"] == ["0000000000000000"]
    assert seen["core"] == [0, 0]
    assert seen["fds"] == 4, "descriptors of the gateway leaked"
    env = seen["env"]
    assert "GATEWAY_TEST_MARK" not in env
    assert job.run.job_id == env["NVIDIA_CLARA_JOBID"]
    assert env["NVIDIA_CLARA_INPUTPATHS"] == "scans:/scans;again:/more/dcm"
    assert env["NVIDIA_CLARA_OUTPUTPATHS"] == "seg:/out/seg"
    assert env["NVIDIA_CLARA_JOBNAME"] == "test-job"
    assert env["NVIDIA_CLARA_PAYLOADID"] == job.run.payload_id
    assert env["NVIDIA_CLARA_STAGENAME"] == "Look"
    assert env["NVIDIA_CLARA_RESULTS"] == "/out/seg/.clara-results.json"
    assert (env["A"], env["B"], env["FROM_IMAGE"]) == ("1", "two words; and 'more'", "yes")
    assert env["OMP_NUM_THREADS"] == "1"
    assert env["CUDA_VISIBLE_DEVICES"] == ""


def test_network_only_when_asked(start):
    _, seen = look(start)
    assert seen["connects"] is False
    assert seen["interfaces"] == ["lo"]
    _, seen = look(start, "  x-gateway: {network: true}\n")
    assert seen["connects"] is True


def test_shipped_interpreter_and_sdk_are_there(start):
    job = start(
        """
- name: a
  container:
    image: gateway/dicom-reader
    command:
    - python
    - -c
    - |
      import gateway.operators.sdk, numpy, importlib.util, os
      for name in ("config", "jobs", "app", "database"):
          assert importlib.util.find_spec(f"gateway.{name}") is None, name
  input: [{path: /input}]
"""
    )
    end = job.wait().ends["a"]
    if Path(gateway.__file__).is_relative_to(sys.prefix):
        return  # installed whole into the venv, which is shown whole
    assert end.exit_code == 0, job.log("a")


def test_devices_of_the_job_are_named(start):
    script = "echo $NVIDIA_VISIBLE_DEVICES $CUDA_VISIBLE_DEVICES > /output/gpus"
    job = start(
        f"""
- name: a
  container: {{image: test/sh, command: [sh, -c, "{script}"]}}
  output: [{{path: /output}}]
  requests: {{gpu: 2}}
- name: b
  container: {{image: test/sh, command: [sh, -c, "{script}"]}}
  input: [{{path: /input, from: a}}]
  output: [{{path: /output}}]
  requests: {{gpu: 1}}
""",
        gpus=(4, 6),
    )
    job.wait()
    assert (job.output("a") / "gpus").read_text().split() == ["4,6", "4,6"]
    assert (job.output("b") / "gpus").read_text().split()[0] in {"4", "6"}


def test_command_is_no_option_of_the_sandbox(start):
    job = start(
        """
- name: a
  container: {image: test/sh, command: ["--bind", "/", "/host", "/bin/true"]}
  input: [{path: /input}]
"""
    )
    end = job.wait().ends["a"]
    assert "--bind" in end.reason
    assert end.exit_code == 127


def test_operator_cannot_change_settings_of_the_kernel(start):
    job = start(
        OPERATOR.replace("PORTNUMBER", "1"),
        images={
            "test/python:2": ImageSettings(
                command=[
                    "sh",
                    "-c",
                    "echo core > /proc/sys/kernel/core_pattern; echo $? > /out/seg/code",
                ]
            )
        },
    )
    job.wait()
    assert int((job.output("Look") / "seg" / "code").read_text()) != 0
