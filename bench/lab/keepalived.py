"""The rival: keepalived with a notify script that calls the AWS CLI, as its users run it on clouds without multicast."""
import os
import shutil
import stat
import subprocess

from host import CLEAN, Service
from topology import API, link_address
from waiting import Unmet

PRIORITY = {"lb-a": 200, "lb-b": 100}
# Unicast, since there is no multicast; version 3, since version 2 has whole seconds only; nopreempt, as vipward's default. The address on
# `lo` means nothing: keepalived refuses to run without one.
CONFIGURATION = """\
global_defs {{
    router_id {name}
    script_user root
    enable_script_security
}}
vrrp_instance web {{
    state BACKUP
    nopreempt
    version 3
    interface eth0
    virtual_router_id 51
    priority {priority}
    advert_int {interval}
    unicast_src_ip {own}
    unicast_peer {{
        {peer}
    }}
    virtual_ipaddress {{
        192.0.2.254/32 dev lo
    }}
    notify_master {hook}
}}
"""
# What the hooks in circulation do, at their best: the ids are known, one call, no retry loop to wait in.
HOOK = """\
#!/bin/sh
exec {aws} ec2 associate-address --allocation-id {allocation} --network-interface-id {interface} --allow-reassociation --endpoint-url http://{api}:4566
"""


def aws_cli():
    """The AWS CLI itself, not a version manager's wrapper around it, which would only slow it down."""
    found = shutil.which("aws")
    if found and "shims" in found:
        found = subprocess.run(["pyenv", "which", "aws"], capture_output=True, text=True, check=True).stdout.strip()
    if not found:
        raise Unmet("the AWS CLI is missing: pip install awscli")
    return found


def install(lab, interval_seconds):
    """In the place of each balancer's daemon."""
    for host in lab.balancers:
        peer = next(other for other in lab.balancers if other is not host)
        hook = host.directory / "notify"
        ids, allocation = lab.world.nodes[host.name], lab.world.allocations["198.51.100.10"]
        hook.write_text(HOOK.format(aws=aws_cli(), allocation=allocation, interface=ids["interface"], api=API), encoding="ascii")
        hook.chmod(hook.stat().st_mode | stat.S_IXUSR)
        configuration = host.directory / "keepalived.conf"
        configuration.write_text(
            CONFIGURATION.format(
                name=host.name, priority=PRIORITY[host.name], interval=interval_seconds, hook=hook,
                own=link_address(host.name, 0), peer=link_address(peer.name, 0),
            ),
            encoding="ascii",
        )  # fmt: skip
        files = ["-p", host.directory / "keepalived.pid", "-r", host.directory / "vrrp.pid"]
        host.daemon = Service(host, "keepalived", ["keepalived", "-n", "-l", "-P", "-f", configuration, *files])
        host.daemon.environment = {
            "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_DEFAULT_REGION": lab.world.region, "HOME": str(host.directory), "PATH": CLEAN["PATH"] + os.pathsep + "/usr/sbin",
        }  # fmt: skip


def version():
    done = subprocess.run(["keepalived", "--version"], capture_output=True, text=True, check=False)
    return done.stderr.splitlines()[0] if done.stderr else "keepalived"
