"""systemd 252 and later: the service, its sockets, and the nightly backup."""

from __future__ import annotations

from pathlib import Path

from ..parsing import PROXY_PREFIX
from .facts import Facts, fill

# Shared by the daemon and its backup. What is not here is not needed: `systemd-analyze security` rates it.
_CONFINED = """\
DynamicUser=yes
User=tunerd
# Sets STATE_DIRECTORY, whose first is the default of TUNERD_DATA_DIR.
StateDirectory=tunerd tunerd/backups
StateDirectoryMode=0700
UMask=0077

NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
PrivateUsers=yes
PrivateMounts=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProcSubset=pid
RemoveIPC=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
"""

_SERVICE = """\
# tunerd as a system service. See README.md beside this file; `tunerd deploy systemd` prints it for your installation.
[Unit]
Description=tunerd: events and results of cloud training on Replicate
Documentation=file:/usr/share/doc/tunerd/operations.md
Wants=network-online.target
After=network-online.target postgresql.service
# They stay open while the daemon restarts: who connects meanwhile waits.
Requires=tunerd.socket
After=tunerd.socket
# A database that is away for a while must not be the end.
StartLimitIntervalSec=0

[Service]
Type=notify
ExecStart=@program@ serve
ExecReload=/bin/kill -HUP $MAINPID
# Settings that are no secrets: /etc/tunerd/config.toml, which `systemctl reload` reads again, or this file.
EnvironmentFile=-/etc/tunerd/environment
Environment=TUNERD_OUTPUT_DIR=/var/lib/tunerd/outputs
# Secrets, each a file of root's in /etc/credstore (mode 0600) and none of them needed: the API token, the token of
# the admin, secrets of webhooks, a PostgreSQL URL, and the key that stored secrets are encrypted with.
LoadCredential=tunerd.replicate_api_token:tunerd.replicate_api_token
LoadCredential=tunerd.admin_token:tunerd.admin_token
LoadCredential=tunerd.webhook_secret:tunerd.webhook_secret
LoadCredential=tunerd.database_url:tunerd.database_url
LoadCredential=tunerd.key:tunerd.key
Restart=on-failure
RestartSec=2
# A misconfiguration does not go away by itself.
RestartPreventExitStatus=78
TimeoutStartSec=90
# Draining takes 20 s at most; what is not done by then is resumed by the next start.
TimeoutStopSec=30
# Fed while the event loop runs and the store answers.
WatchdogSec=60
LimitNOFILE=65536

@confined@

[Install]
WantedBy=multi-user.target
Also=tunerd.socket
"""

_SOCKET = """\
# The sockets of tunerd.service; they win over TUNERD_LISTEN. For a proxy on this machine a unix socket will do:
# ListenStream=/run/tunerd.sock, SocketGroup=www-data, SocketMode=0660.
[Unit]
Description=tunerd: listening sockets

[Socket]
ListenStream=@listen@
Backlog=1024

[Install]
WantedBy=sockets.target
"""

_PROXY_SOCKET = """\
# The sockets of tunerd.service on which every connection begins with a PROXY protocol header.
[Unit]
Description=tunerd: listening sockets behind PROXY protocol

[Socket]
Service=tunerd.service
FileDescriptorName=proxy
ListenStream=@listen@
Backlog=1024

[Install]
WantedBy=sockets.target
"""

_BACKUP = """\
# A copy of tunerd's embedded database, made and checked while the daemon runs. See README.md beside this file.
[Unit]
Description=tunerd: backup
After=tunerd.service

[Service]
Type=oneshot
ExecStart=@program@ backup /var/lib/tunerd/backups --keep 14
EnvironmentFile=-/etc/tunerd/environment
LoadCredential=tunerd.database_url:tunerd.database_url
LoadCredential=tunerd.key:tunerd.key
TimeoutStartSec=1h
Nice=10

@confined@
"""

_TIMER = """\
# Every night, once the machine is up again where it slept through it.
[Unit]
Description=tunerd: nightly backup

[Timer]
OnCalendar=*-*-* 03:30:00
RandomizedDelaySec=15m
Persistent=yes

[Install]
WantedBy=timers.target
"""


def render(facts: Facts) -> dict[str, str]:
    """File name → unit."""
    plain = [_stream(entry) for entry in facts.listen if not entry.startswith(PROXY_PREFIX)]
    proxied = [_stream(entry) for entry in facts.listen if entry.startswith(PROXY_PREFIX)]
    confined = _CONFINED.splitlines()
    units = {
        "tunerd.service": fill(_SERVICE, program=str(facts.program), confined=confined),
        "tunerd.socket": fill(_SOCKET, listen=plain or ["127.0.0.1:8080"]),
        "tunerd-backup.service": fill(_BACKUP, program=str(facts.program), confined=confined),
        "tunerd-backup.timer": _TIMER,
    }
    if proxied:
        units["tunerd-proxy.socket"] = fill(_PROXY_SOCKET, listen=proxied)
        units["tunerd.service"] = units["tunerd.service"].replace(
            "After=tunerd.socket\n", "After=tunerd.socket tunerd-proxy.socket\nRequires=tunerd-proxy.socket\n"
        )
    return units


def _stream(entry: str) -> str:
    return entry.removeprefix(PROXY_PREFIX).removeprefix("http://").removeprefix("unix:")


def installed_program(executable: Path) -> Path:
    """``tunerd`` beside the Python that runs this."""
    return executable.with_name("tunerd")
