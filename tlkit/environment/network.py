"""What the environment says of the network; it is only tried when asked."""

from __future__ import annotations

import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tlkit.environment.finding import Finding

_PROXIES = ("https_proxy", "http_proxy", "all_proxy", "no_proxy")
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_OFFLINE = ("HF_HUB_OFFLINE", "KAGGLEHUB_OFFLINE", "TRANSFORMERS_OFFLINE")
_SECONDS = 5.0
# Where handles lead, where they are kept, and where weights of keras.applications are.
HOSTS = ("https://tfhub.dev", "https://www.kaggle.com", "https://storage.googleapis.com")


@dataclass(frozen=True)
class Network:
    """Facts; `tried` maps an address to what went wrong, or to nothing, and is None where nothing was tried."""

    proxies: Mapping[str, str] = field(default_factory=dict)
    missing_certificates: Mapping[str, str] = field(default_factory=dict)
    offline: tuple[str, ...] = ()
    unchecked: bool = False  # TFHUB_DISABLE_CERT_VALIDATION
    tried: Mapping[str, str] | None = None


def look_at_network(environment: Mapping[str, str] = os.environ, hosts: Sequence[str] = ()) -> Network:
    """Gather the facts; addresses in `hosts` are tried, and nothing else is."""
    proxies = {}
    for name in (*_PROXIES, *(name.upper() for name in _PROXIES)):
        if value := environment.get(name):
            proxies[name] = re.sub(
                r"^(\w+://)?[^/]*@", r"\1…@", value
            )  # without the password: reports are shown around
    certificates = {name: environment[name] for name in _CERTIFICATES if environment.get(name)}
    with ThreadPoolExecutor(max_workers=max(1, len(hosts))) as pool:
        tried = dict(zip(hosts, pool.map(_try, hosts), strict=True)) if hosts else None
    return Network(
        proxies=proxies,
        missing_certificates={name: path for name, path in certificates.items() if not Path(path).exists()},
        offline=tuple(name for name in _OFFLINE if environment.get(name, "0").lower() not in ("", "0", "false")),
        unchecked=environment.get("TFHUB_DISABLE_CERT_VALIDATION", "").lower() == "true",
        tried=tried,
    )


def _try(address: str) -> str:
    request = urllib.request.Request(address, method="HEAD", headers={"User-Agent": "tlkit-doctor"})
    for attempt in (1, 2):
        try:
            urllib.request.urlopen(request, timeout=_SECONDS).close()
            return ""
        except urllib.error.HTTPError:
            return ""  # it answered: the way there is open
        except (OSError, ValueError) as error:
            if attempt == 2:
                return str(getattr(error, "reason", error)) or type(error).__name__
            time.sleep(0.2)
    return ""


def judge_network(network: Network) -> list[Finding]:
    """Judge what was found, and what was tried."""
    findings = []
    for name, path in network.missing_certificates.items():
        meaning = "There is no such file: every download over https fails. Correct it, or remove it."
        findings.append(Finding(name, path, "problem", meaning, (f"unset {name}",)))
    if network.unchecked:
        name = "TFHUB_DISABLE_CERT_VALIDATION"
        meaning = "Models are downloaded from whoever answers, and a model is a program."
        findings.append(Finding(name, "true", "warning", meaning, (f"unset {name}",)))
    if network.offline:
        meaning = "These libraries download nothing. tlkit's TF-Hub handles are not affected."
        findings.append(Finding("offline switches", ", ".join(network.offline), meaning=meaning))
    if network.proxies:
        found = ", ".join(f"{name}={value}" for name, value in network.proxies.items())
        findings.append(Finding("proxy", found, meaning="Downloads go through it."))
    if network.tried is None:
        return findings or [Finding("network", "not tried; no proxy is set")]
    failed = {address: error for address, error in network.tried.items() if error}
    if not failed:
        return [*findings, Finding("network", f"{', '.join(network.tried)} can be reached")]
    found = "; ".join(f"{address}: {error}" for address, error in failed.items())
    meaning = "Models there cannot be downloaded from here. Those in the cache, folders and 'tlkit:mini-image' work."
    return [*findings, Finding("network", found, "warning", f"{meaning} Behind a proxy, set HTTPS_PROXY.")]
