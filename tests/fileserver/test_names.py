"""Which ids and names are taken."""

import pytest
from jld_fileserver.errors import InvalidError
from jld_fileserver.names import parse_id, parse_name


@pytest.mark.parametrize("number", [1000, 4242424, 65533, 65536, 2**31 - 1])
def test_id(number: int) -> None:
    """Ids from 1000 to the largest that is positive everywhere are taken."""
    assert parse_id(str(number)) == number


@pytest.mark.parametrize(
    "text",
    ["0", "1", "999", "65534", "65535", "2147483648", "4294967295", "9" * 5000,
     "-1000", "+1000", "01000", "1e4", "1_000",
     " 1000", "1000\n", "1000.0", "0x1000", "", "..", ".", "1000/..", "1000\0", "½", "alice",
     "\u0661\u0662\u0663\u0664", "\uff11\uff10\uff10\uff10"],
)  # fmt: skip
def test_no_id(text: str) -> None:
    """Reserved ids, and anything but plain digits, are refused."""
    with pytest.raises(InvalidError):
        parse_id(text)


@pytest.mark.parametrize("name", ["a", "alice", "lsst-sqre", "7", "a" * 39, "octo_corp", "-ace-", "0----0"])
def test_name(name: str) -> None:
    """Names that GitHub gives, gave once (odd dashes), or derives from an enterprise's are taken."""
    assert parse_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../alice", "a/b", "/", "a\0b", "alice\n", "Alice", "al ice", "a.b", "~root", "_corp", "octo_",
     "a_b_c", "a" * 40, "älice", "\u0430lice", "\ufb01", "\ud800", "%2e%2e", ".alice.new",
     None, 7, True, ["alice"], {"a": 1}],
)  # fmt: skip
def test_no_name(name: object) -> None:
    """Anything that could lead elsewhere, and upper case, is refused."""
    with pytest.raises(InvalidError):
        parse_name(name)
