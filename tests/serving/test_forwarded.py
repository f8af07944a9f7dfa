import pytest

from serving.forwarded import client_address, networks


def scope(*forwarded: str, peer: str = "10.0.0.1") -> dict:
    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in forwarded]
    return {"client": (peer, 5000), "headers": headers}


@pytest.mark.parametrize(
    ("forwarded", "trusted", "address"),
    [
        (["1.2.3.4"], [], "10.0.0.1"),
        (["1.2.3.4"], ["10.0.0.2"], "10.0.0.1"),
        (["1.2.3.4"], ["10.0.0.1"], "1.2.3.4"),
        (["1.2.3.4"], ["10.0.0.0/8"], "1.2.3.4"),
        (["6.6.6.6, 1.2.3.4"], ["10.0.0.1"], "1.2.3.4"),  # the first one is the client's own word
        (["6.6.6.6, 1.2.3.4, 10.0.0.9"], ["10.0.0.0/8"], "1.2.3.4"),
        (["6.6.6.6", "1.2.3.4"], ["10.0.0.1"], "1.2.3.4"),
        (["1.2.3.4:99"], ["10.0.0.1"], "1.2.3.4"),
        (["[2001:db8::1]:99"], ["10.0.0.1"], "2001:db8::1"),
        (["unknown"], ["10.0.0.1"], "10.0.0.1"),
        (["6.6.6.6, \xff, 10.0.0.9"], ["10.0.0.0/8"], "10.0.0.9"),
        ([""], ["10.0.0.1"], "10.0.0.1"),
        ([], ["10.0.0.1"], "10.0.0.1"),
    ],
)
def test_only_what_trusted_proxies_wrote_counts(forwarded: list[str], trusted: list[str], address: str) -> None:
    assert client_address(scope(*forwarded), trusted) == address


def test_an_ipv4_address_in_ipv6_clothes_is_the_same() -> None:
    assert client_address(scope("1.2.3.4", peer="::ffff:10.0.0.1"), ["10.0.0.1"]) == "1.2.3.4"


def test_a_client_without_an_address_is_local() -> None:
    assert client_address({"client": None, "headers": []}, ["10.0.0.1"]) == "local"


def test_a_name_that_is_no_address_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'proxy\.example' is no address or network"):
        networks(["10.0.0.1", "proxy.example"])
