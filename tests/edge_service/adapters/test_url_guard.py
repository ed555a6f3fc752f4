from ipaddress import ip_address

import pytest

from atelier.contracts.errors import InvalidRequest
from edge_service.adapters.url_guard import AddressRefused, Target, UrlGuard
from edge_service.config import EdgeConfig

# Each stands for a way in that was used against somebody.
FORBIDDEN = [
    # this machine
    "http://127.0.0.1/", "http://127.1.2.3:8080/", "http://[::1]/", "http://[0:0:0:0:0:0:0:1]/", "http://0.0.0.0/",
    "http://0.1.2.3/", "http://[::]/", "http://localhost/", "http://LocalHost:9000/", "http://a.localhost/",
    "http://localhost.localdomain/",
    # the network around it
    "http://10.0.0.1/", "http://172.16.0.1/", "http://172.31.255.255/", "http://192.168.1.1/", "http://[fd12:3456::1]/",
    "http://[fc00::1]/", "http://[fec0::1]/", "http://169.254.1.1/", "http://[fe80::1]/", "http://100.64.0.1/",
    "http://100.127.255.255/", "http://postgres/", "http://edge.atelier.svc.cluster.local/", "http://printer.lan/",
    "http://metadata.google.internal/computeMetadata/v1/",
    # credentials of the machine
    "http://169.254.169.254/latest/meta-data/", "http://[fd00:ec2::254]/", "http://100.100.100.200/",
    "http://169.254.170.2/",
    # no single machine, or none at all
    "http://224.0.0.1/", "http://[ff02::1]/", "http://255.255.255.255/", "http://240.0.0.1/", "http://192.0.2.1/",
    "http://198.51.100.1/", "http://203.0.113.1/", "http://198.18.0.1/", "http://192.0.0.8/", "http://[2001:db8::1]/",
    "http://[3fff::1]/", "http://[100::1]/", "http://[4000::1]/",
    # IPv4 in the clothes of IPv6
    "http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/", "http://[::ffff:a9fe:a9fe]/", "http://[::127.0.0.1]/",
    "http://[64:ff9b::7f00:1]/", "http://[64:ff9b::10.0.0.1]/", "http://[64:ff9b:1::a00:1]/",
    "http://[2002:7f00:1::]/", "http://[2002:a00:1::1]/", "http://[2001:0:7f00:1::]/", "http://[2001::1]/",
    # spellings that some resolver understands
    "http://2130706433/", "http://0x7f000001/", "http://0x7f.1/", "http://127.1/", "http://0177.0.0.1/",
    "http://127.0.0.01/", "http://0x7f.0x0.0x0.0x1/", "http://017700000001/", "http://256.1.1.1/",
    "http://1.2.3.4.5/", "http://a.b.c.1/", "http://8.8.8.0x8/",
    # names written so that two parsers differ
    "http://localhost./", "http://127.0.0.1./", "http://example.com./", "http://example..com/", "http://.example.com/",
    "http://loc%61lhost/", "http://127.0.0.1%00.example.com/", "http://[fe80::1%25eth0]/", "http://[::1]evil.example.com/",
    "http://[v1.fe80]/", "http://[127.0.0.1]/", "http://ｌｏｃａｌｈｏｓｔ/", "http://①②⑦.⓪.⓪.①/",  # noqa: RUF100
    "http://example。com/", "http://bücher.example/", f"http://{'a' * 64}.example.com/", f"http://{'a.' * 130}com/",
    "http://example.com\\@127.0.0.1/", "http://example.com:80\\@127.0.0.1/", "http:\\\\example.com/",
    "http://example.com /", "http://example.com/\r\nHost: evil", "http://example.com/\x00", "http:///path", "http://:80/",
    "http://example.com:80:80/", "http://example.com:/", "http://example.com:0/", "http://example.com:65536/",
    "http://example.com:+80/", "http://example,com/", "http://[::1/",
    # what is no address of a receiver
    "http://user@example.com/", "http://user:secret@example.com/", "http://@example.com/", "http://example.com/#part",
    "http://example.com/#", "ftp://example.com/", "file:///etc/passwd", "gopher://example.com/", "unix:///run/x.sock",
    "javascript:alert(1)", "//example.com/", "example.com/hook", "http:example.com", "http:/example.com", "",
]  # fmt: skip

ALLOWED = [
    "http://example.com", "https://example.com:8443/a/b?c=d&e=%20", "HTTPS://EXAMPLE.com/", "http://8.8.8.8/",
    "http://[2606:4700::1111]:8080/", "https://xn--bcher-kva.example/", "https://a_b.example.com/", "http://1a.example/",
    "http://[64:ff9b::808:808]/", "http://[::ffff:8.8.8.8]/", "http://100.128.0.1/", "http://172.32.0.1/",
    "http://localhost.example.com/", "http://internal.example.com/",
]  # fmt: skip


def test_there_are_many_ways_in():
    assert len(set(FORBIDDEN)) == len(FORBIDDEN) >= 40


@pytest.mark.parametrize("url", FORBIDDEN)
def test_an_address_that_is_not_on_the_internet_is_refused(url: str):
    with pytest.raises(InvalidRequest) as refused:
        UrlGuard().check("webhook.url", url)
    [violation] = refused.value.violations
    assert violation.field == "webhook.url"
    assert violation.description.startswith(("must", "is not"))


@pytest.mark.parametrize("url", ALLOWED)
def test_an_address_on_the_internet_is_taken(url: str):
    UrlGuard().check("webhook.url", url)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1/", "loopback"), ("http://[::ffff:127.0.0.1]/", "loopback"),
        ("http://169.254.1.1/", "link-local"),
        ("http://169.254.169.254/", "metadata"), ("http://10.0.0.1/", "private"), ("http://[2002:7f00:1::]/", "tunnel"),
        ("http://2130706433/", "four decimal numbers"), ("http://localhost/", "local machine"),
        ("http://u:p@example.com/", "password"), ("http://example.com/#a", "fragment"), ("ftp://example.com/", "https://"),
        ("http://example.com:0/", "got 0"), ("http://example.com./", "dot at its end"),
    ],
)  # fmt: skip
def test_the_reason_is_told_and_nothing_of_the_url(url: str, reason: str):
    with pytest.raises(InvalidRequest, match=reason) as refused:
        UrlGuard().check("webhook.url", url)
    assert url not in str(refused.value)


def test_a_url_is_taken_apart_once():
    target = UrlGuard().target("HTTPS://Example.COM:8443/a?b=c")
    assert target == Target("https", "example.com", 8443, "/a?b=c")
    assert target.authority == "example.com:8443"
    assert UrlGuard().target("http://example.com?b").path == "/?b"
    assert UrlGuard().target("https://[2606:4700::1111]/").authority == "[2606:4700::1111]"


def test_an_operator_may_allow_networks():
    addresses = UrlGuard("127.0.0.0/8, 10.1.0.0/16,fd00::/8")
    for url in ("http://127.0.0.1:8080/", "http://10.1.2.3/", "http://[fd12::1]/", "http://[::ffff:10.1.2.3]/"):
        addresses.check("webhook.url", url)
    for url in ("http://10.2.0.1/", "http://192.168.0.1/", "http://[::1]/"):
        with pytest.raises(InvalidRequest):
            addresses.check("webhook.url", url)


def test_local_names_are_judged_by_what_they_stand_for_where_networks_are_allowed():
    UrlGuard("10.0.0.0/8").check("webhook.url", "http://receiver.team.svc.cluster.local/hook")
    with pytest.raises(InvalidRequest):
        UrlGuard().check("webhook.url", "http://receiver.team.svc.cluster.local/hook")


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "fd00:ec2::254"]
)
def test_no_allowed_network_includes_the_credentials_of_the_machine(address: str):
    with pytest.raises(AddressRefused, match="metadata"):
        UrlGuard("0.0.0.0/0,::/0").check_address(ip_address(address))


def test_a_network_that_is_none_stops_the_edge():
    assert EdgeConfig().allowed_networks == ""
    assert EdgeConfig(allowed_networks="10.0.0.0/8,fd00::/8").allowed_networks == "10.0.0.0/8,fd00::/8"
    for wrong in ("10.0.0.1/8", "localhost", "10.0.0.0/33", "10.0.0.0/8;fd00::/8"):
        with pytest.raises(ValueError, match="allowed_networks"):
            EdgeConfig(allowed_networks=wrong)
