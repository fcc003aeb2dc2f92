"""Our metrics as Ray really exports them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from musicrec.telemetry.metrics import METRICS

# In a process of its own: Ray allows one cluster a process, and the other tests have theirs. Prints
# what the node's metrics port says of us once all that was recorded is there.
SCRIPT = r"""
import json, threading, time, urllib.request
import ray
from musicrec.telemetry import metrics as monitoring
ray.init(address="local", num_cpus=1, include_dashboard=False, logging_level="ERROR", _system_config={"metrics_report_interval_ms": 200})
monitoring.blocks_queued("extract", 7)
monitoring.block_done("extract", rows=32, errors=2, audio_seconds=900.5, bytes_written=4096)
monitoring.block_done("extract", rows=32, errors=0, audio_seconds=960.0, bytes_written=4096)
monitoring.block_done("artwork", rows=5, errors=5, audio_seconds=0.0, bytes_written=10)
for epoch in range(2):
    monitoring.epoch_done("mel.time", {"epoch": epoch, "loss": -0.5, "validation": 0.25, "seconds": 1.5})
node = ray.nodes()[0]
url, deadline, tick = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics", time.monotonic() + 60, threading.Event()
ours = []
while time.monotonic() < deadline and len(ours) < 11:
    tick.wait(0.1)
    try:
        lines = urllib.request.urlopen(url, timeout=5).read().decode().splitlines()
    except OSError:
        continue
    ours = [line for line in lines if line.startswith("ray_musicrec")]
print(json.dumps(ours))
ray.shutdown()
"""


def test_ray_exports_every_metric_under_the_name_that_we_say() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=Path(__file__).parents[2],
        check=True,
    )
    lines = [
        re.fullmatch(r"(\w+)\{(.*)\} (\S+)", line)
        for line in json.loads(ran.stdout.splitlines()[-1])
    ]
    values = {
        (line[1], re.search(r'(?:stage|model)="([^"]+)"', line[2])[1]): float(line[3])
        for line in lines
    }
    assert values == {
        ("ray_musicrec_blocks_queued", "extract"): 7,
        ("ray_musicrec_clips_done_total", "extract"): 62,
        ("ray_musicrec_clips_failed_total", "extract"): 2,
        ("ray_musicrec_clips_failed_total", "artwork"): 5,
        ("ray_musicrec_audio_seconds_total", "extract"): 1860.5,
        ("ray_musicrec_bytes_written_total", "extract"): 8192,
        ("ray_musicrec_bytes_written_total", "artwork"): 10,
        ("ray_musicrec_epoch", "mel.time"): 2,
        ("ray_musicrec_loss", "mel.time"): -0.5,
        ("ray_musicrec_validation", "mel.time"): 0.25,
        ("ray_musicrec_epoch_seconds", "mel.time"): 1.5,
    }
    assert {name for name, _ in values} == {
        definition.exported(name) for name, definition in METRICS.items()
    }
    assert all('run="' in line[2] for line in lines)


def test_names_are_ours_and_plain() -> None:
    assert all(
        re.fullmatch(r"musicrec_[a-z_]+", name) and not name.endswith("_total") for name in METRICS
    )
