"""Caddy 2.6 and later: certificate by itself, the webhook path for the ranges, the rest for internal addresses."""

from __future__ import annotations

from .facts import Facts, fill

_TEMPLATE = """\
# Caddy before tunerd: TLS by itself, the webhook path for those who may call it, the rest for the internal network.
# The name is yours to fill in. See README.md; `tunerd deploy caddy` prints this with your settings.
(tunerd) {
	reverse_proxy @upstream@ {
		# Event streams: each line at once.
		flush_interval -1
		# The client's address and nothing that it said about itself; Caddy sets X-Forwarded-For, -Proto and -Host anew.
		header_up X-Real-IP {remote_host}
		header_up -Forwarded
		header_up -CF-Connecting-IP
		header_up -True-Client-IP
	}
}

@address@ {
	tls @tls@
	# A little above TUNERD_MAX_BODY_MIB, so that tunerd refuses what is too large and says so.
	request_body {
		max_size @body_limit@MiB
	}

	# The signature authenticates Replicate's events; tunerd checks it.
	@webhooks {
		path /api/webhooks/*
		remote_ip @ranges@
	}
	handle @webhooks {
		import tunerd
	}

	@internal {
		not path /api/webhooks/*
		remote_ip @internal@
	}
	handle @internal {
		import tunerd
	}

	handle {
		respond "Forbidden" 403
	}
}
"""


def render(facts: Facts) -> str:
    port = "" if facts.https_port == 443 else f":{facts.https_port}"
    return fill(
        _TEMPLATE,
        address=facts.server_name + port,
        upstream=facts.upstream.replace("unix:", "unix/"),
        tls=(f"{facts.certificate} {facts.key}",) if facts.certificate and facts.key else (),
        body_limit=facts.body_limit_mib,
        ranges=(" ".join(facts.ranges),) if facts.ranges else (),
        internal=" ".join(facts.internal),
    )
