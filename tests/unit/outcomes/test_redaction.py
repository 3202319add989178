import pytest

from poolkeeper.tasks.outcomes import REDACTED, Secret, redact
from poolkeeper.tasks.outcomes.redaction import MAX_CHARACTERS


@pytest.mark.parametrize(
    ("text", "left"),
    [
        pytest.param("token abcdef.0123456789abcdef used", f"token {REDACTED} used", id="bootstrap token"),
        pytest.param("Authorization: Bearer abc.def-123", f"Authorization: Bearer {REDACTED}", id="bearer"),
        pytest.param(
            "edgeadm join --openapi-token=Zm9vYmFyYmF6 ok", f"edgeadm join --openapi-token={REDACTED} ok", id="flag"
        ),
        pytest.param(
            "a -----BEGIN OPENSSH PRIVATE KEY-----\nabc\n-----END OPENSSH PRIVATE KEY----- b",
            f"a {REDACTED} b",
            id="private key",
        ),
        pytest.param("-----BEGIN RSA PRIVATE KEY-----\nabc cut sho", REDACTED, id="private key cut short"),
        pytest.param("jwt eyJhbGciOi.eyJzdWIi.c2lnbmF0", f"jwt {REDACTED}", id="service account token"),
        pytest.param('{"token": "0123456789"}', f'{{"token": "{REDACTED}"}}', id="json"),
        pytest.param(
            "edgeadm join --openapi-token Zm9vYmFyYmF6 ok", f"edgeadm join --openapi-token {REDACTED} ok", id="option"
        ),
        pytest.param("abc\nZm9v\n-----END RSA PRIVATE KEY-----\nok", f"{REDACTED}\nok", id="a key's last half"),
        pytest.param("via http://ops:hunter2@proxy:3128/", f"via http://ops:{REDACTED}@proxy:3128/", id="proxy"),
        pytest.param("git clone ssh://git@host/x", f"git clone ssh://{REDACTED}@host/x", id="a user alone, or a token"),
        pytest.param(
            "ids x-eyJhbGciOi.eyJzdWIi.c2ln end", f"ids x-{REDACTED} end", id="service account token in a word"
        ),
        pytest.param("---join-token Zm9vYmFyYmF6", f"---join-token {REDACTED}", id="option with one dash more"),
        pytest.param("version v1.36.3, token expired", "version v1.36.3, token expired", id="nothing secret"),
    ],
)
def test_what_is_shaped_like_a_secret_goes(text, left):
    assert redact(text) == left


def test_words_of_a_known_secret_go_wherever_they_stand():
    script = Secret("edgeadm join --with opaque-credential-4711")
    assert redact("+ curl https://x/?c=opaque-credential-4711", script) == f"+ curl https://x/?c={REDACTED}"


def test_short_words_of_a_secret_stay():
    assert redact("edgeadm join failed", Secret("edgeadm join 0123456789abcdef")) == "edgeadm join failed"


def test_of_a_text_of_our_own_only_the_secret_words_go():
    script = Secret(
        "apt-get update failed, so nothing-was-installed opaque-credential-4711",
        secret_words=["opaque-credential-4711"],
    )
    assert redact("nothing-was-installed opaque-credential-4711", script) == f"nothing-was-installed {REDACTED}"


def test_a_secret_does_not_show_itself():
    secret = Secret("hunter2-hunter2")
    assert "hunter2" not in f"{secret} {secret!r} {[secret]}"
    assert secret.reveal() == "hunter2-hunter2"


def test_of_much_text_the_end_is_kept_from_a_whole_word_on():
    secret = "opaque-credential-4711"
    told = redact(f"{secret} " + "x" * MAX_CHARACTERS + f" {'y ' * 100}last words", Secret(secret))
    assert told.endswith("last words")
    assert len(told) <= MAX_CHARACTERS
    cut = redact("first " + secret + "x" * (MAX_CHARACTERS - len(secret) + 5) + " last words", Secret(secret))
    assert (cut, "4711" in cut) == ("last words", False)
