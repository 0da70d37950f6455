"""On the wire: where a request goes, with which key, through which proxy, and to whom it is not sent at all."""

import datetime
import logging
import socket
from pathlib import Path

import pytest

from pipelines.errors import UserError
from pipelines.sections import Endpoint
from tests.asking import answers, asked, questions
from tests.servers import ChatServer, Fault, always, first


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}/v1", "", "localhost:9/v1", "ftp://127.0.0.1/v1", "http://[::1/v1", "http:///v1"])
def test_no_server_is_an_error_of_each_call_that_nobody_bills(url: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = Endpoint(kind="openai", url=url.format(port=free.getsockname()[1]), model="m", attempts=1)
        replies = asked(endpoint, questions(3))
    assert {reply.word for reply in replies} <= {"connection", "bad_url"} and {reply.unsure for reply in replies} == {0}


def test_the_key_is_sent_and_never_told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for key in ("right-key", "wrong-key"):
        monkeypatch.setenv("TEST_KEY", key)
        with ChatServer(key="right-key") as chat:
            replies = asked(chat.endpoint(key_env="TEST_KEY"), questions(1))
        assert replies[0].word == ("" if key == "right-key" else "denied")
        assert key not in caplog.text + str(replies)
    assert "[key]" in str(replies[0].error)


@pytest.mark.parametrize("key", ["", "  ", "two\nlines", "schlüssel"])
def test_a_key_that_is_missing_or_broken_is_the_user_s_to_mend(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("TEST_KEY", key)
    with pytest.raises(UserError, match="TEST_KEY.*key_env") as error:
        asked(Endpoint(kind="openai", url="http://u:secret@127.0.0.1/v1", model="m", key_env="TEST_KEY"), questions(1))
    assert "secret" not in str(error.value)
    assert not key.strip() or key not in str(error.value)


def test_a_redirect_is_not_followed_with_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", "right-key")
    with ChatServer(always(Fault("redirect")), key="right-key") as chat:
        assert asked(chat.endpoint(key_env="TEST_KEY"), questions(1))[0].word == "refused"
    assert len(chat.calls) == 1


def test_the_proxies_of_the_environment_are_used_and_their_exceptions_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    with ChatServer() as chat:
        for name in ("http_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, chat.url.removesuffix("/v1"))
        monkeypatch.setenv("no_proxy", "")
        far = chat.endpoint(url="http://model.example/v1")
        assert "http://model.example/v1/chat/completions" in str(asked(far, questions(1))[0].error), "what the proxy was asked for"
        for name in ("http_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        assert asked(chat.endpoint(attempts=1), questions(1))[0].word == "connection"
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.setenv(name, "127.0.0.1")
        assert asked(chat.endpoint(), questions(1)) == answers(1)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that signed itself, with its key."""
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).add_extension(address, False)
    dated = made.serial_number(1).not_valid_before(now - datetime.timedelta(1)).not_valid_after(now + datetime.timedelta(1))
    raw = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(dated.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM) + key.private_bytes(*raw))
    return path


def test_nothing_is_sent_to_a_server_whose_certificate_nobody_vouches_for(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ChatServer(certificate=str(certificate)) as chat:
        [reply] = asked(chat.endpoint(attempts=1), questions(1))
        assert (reply.word, reply.unsure, chat.calls) == ("connection", 0, [])
        assert "nobody vouches for" in str(reply.error)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        assert asked(chat.endpoint(), questions(1)) == answers(1)
        chat.fault = first(2, Fault("cut"))
        assert asked(chat.endpoint(attempts=1), questions(1, start=1))[0].unsure == 1
