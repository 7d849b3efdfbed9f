"""Whoever is not the learner's own page reads nothing, writes nothing and runs nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from studio.made_studio import HERE, HOST, NAME, Studio

from grader.studio.gatekeeper import HEADERS, MOST_BODY

SECRET = "do-not-read-me"
PAGES = ["/", "/museum", f"/challenge/{NAME}", "/static/studio.css", "/nothing", "/attempt/nothing"]
CHANGES = [
    f"/challenge/{NAME}/start",
    f"/attempt/{NAME}/file",
    f"/attempt/{NAME}/press/r",
    f"/attempt/{NAME}/suspect",
]


def stranger(studio: Studio) -> TestClient:
    """Another program on this machine, which has no cookie."""
    return TestClient(studio.door, base_url=f"http://{HOST}", follow_redirects=False)


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:8519", "127.0.0.1", "localhost", "127.0.0.1:80", ""),
        *(
            "127.0.0.1:8519.evil.example",
            "[::1]:8519",
            "0.0.0.0:8519",
            "127.0.0.1:8519@evil.example",
        ),
    ],
)
def test_another_name_for_this_machine_is_not_answered(studio: Studio, host: str) -> None:
    for page in PAGES:
        answer = studio.client.get(page, headers={"Host": host})
        assert answer.status_code == 421
        assert "KV" not in answer.text


def test_two_names_at_once_are_not_answered(studio: Studio) -> None:
    answer = studio.client.get("/", headers=[("Host", HOST), ("Host", "evil.example")])
    assert answer.status_code == 421


@pytest.mark.parametrize(
    "origin",
    [
        *("http://evil.example", "null", "", f"https://{HOST}", "http://127.0.0.1:8520"),
        *("http://127.0.0.1", f"http://{HOST}.evil.example", f"http://{HOST}/", "file://"),
    ],
)
def test_pages_of_another_origin_change_and_read_nothing(studio: Studio, origin: str) -> None:
    live = studio.begin()
    before = studio.file.read_bytes(), live.piece.number
    for page in CHANGES:
        answer = studio.client.post(page, headers={"Origin": origin}, json={})
        assert answer.status_code == 403
    assert studio.client.get(f"/attempt/{NAME}/file", headers={"Origin": origin}).status_code == 403
    assert studio.file.read_bytes() == before[0]


def test_a_change_must_say_where_it_comes_from(studio: Studio) -> None:
    for page in CHANGES:
        assert studio.client.post(page).status_code == 403
    assert not studio.work.exists()


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_other_sites_embed_nothing(studio: Studio, site: str) -> None:
    for page in PAGES:
        for mode in ("no-cors", "cors", "websocket"):
            headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode}
            assert studio.client.get(page, headers=headers).status_code == 403
    headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate"}
    assert studio.client.get("/", headers=headers).status_code == 200, "a link may lead here"
    assert studio.client.post(CHANGES[0], headers=headers).status_code == 403


def test_who_has_no_cookie_sees_nothing(studio: Studio) -> None:
    studio.begin()
    other = stranger(studio)
    for page in [*PAGES, f"/attempt/{NAME}", f"/attempt/{NAME}/file", f"/attempt/{NAME}/events"]:
        answer = other.get(page)
        assert (answer.status_code, "studio" in answer.text) == (403, True)
        assert "set-cookie" not in answer.headers
    for page in CHANGES:
        assert other.post(page, headers=HERE).status_code == 403


@pytest.mark.parametrize(
    "cookie",
    [
        "studio=",
        "studio=x",
        "studio",
        "Studio={}",
        "other={}",
        "studio={}x",
        "studio= {}{}",
        ";;;=",
        "\xff",
    ],
)
def test_another_cookie_opens_nothing(studio: Studio, cookie: str) -> None:
    secret = studio.client.cookies["studio"]
    other = stranger(studio)
    header = cookie.replace("{}", secret).encode("latin-1")
    assert other.get("/", headers={b"Cookie": header}).status_code == 403


@pytest.mark.parametrize("key", ["", "x", "{}x", "{}&key={}", "%00", "{}%00"])
def test_another_key_opens_nothing(studio: Studio, key: str) -> None:
    answer = stranger(studio).get("/?key=" + key.replace("{}", studio.door.key))
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


def test_the_key_gives_a_cookie_that_no_script_and_no_other_site_has(studio: Studio) -> None:
    answer = stranger(studio).get(f"/attempt/{NAME}?key={studio.door.key}")
    assert answer.status_code == 303
    assert answer.headers["location"] == f"/attempt/{NAME}", "the key stays in no history"
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert studio.door.key not in answer.headers["set-cookie"]
    assert stranger(studio).post(f"/?key={studio.door.key}", headers=HERE).status_code == 403


@pytest.mark.parametrize("path", ["//evil.example/", "/\\evil.example", "//evil.example/%2f.."])
def test_the_key_leads_to_no_other_site(studio: Studio, path: str) -> None:
    answer = stranger(studio).get(f"http://{HOST}{path}?key={studio.door.key}")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/"


def test_every_answer_has_the_policy(studio: Studio) -> None:
    studio.begin()
    seen = [
        studio.client.get(page) for page in [*PAGES, f"/attempt/{NAME}", f"/attempt/{NAME}/log"]
    ]
    seen += [stranger(studio).get("/"), studio.client.post("/", headers=HERE)]
    seen += [studio.client.get("/", headers={"Host": "evil.example"})]
    for answer in seen:
        for name, value in HEADERS.items():
            assert answer.headers[name] == value, answer.url
        assert "access-control-allow-origin" not in answer.headers
        if "text/html" in answer.headers.get("content-type", ""):
            assert "style=" not in answer.text
            assert " onclick" not in answer.text
            assert "<script>" not in answer.text


@pytest.mark.parametrize(
    "path",
    [
        *("/static/../studio_app.py", "/static/%2e%2e/studio_app.py", "/static/..%2fstudio_app.py"),
        *(
            "/static/%2e%2e%2f%2e%2e%2f%2e%2e%2fetc%2fpasswd",
            "/static//etc/passwd",
            "/static/..%5cstudio_app.py",
        ),
        *(
            "/attempt/..%2f..%2fetc%2fpasswd",
            "/attempt/%2e%2e",
            "/challenge/..%2f..",
            "/challenge/%00",
        ),
        *(
            "/challenge/.",
            "/attempt/" + "a" * 5000,
            "/challenge/multi_head_attention%2f..%2fstatic_cache",
        ),
        *("/attempt/x%0d%0aSet-Cookie:%20a=b", "/static/vendor/%00", "/static/" + "a/" * 500),
    ],
)
def test_no_path_leads_out(studio: Studio, path: str) -> None:
    for end in ("", "/file", "/events", "/log"):
        answer = studio.client.get(f"http://{HOST}{path}{end}")
        assert answer.status_code in (400, 404, 409), path
        assert "root:" not in answer.text
        assert "def studio_app" not in answer.text


@pytest.mark.parametrize(
    "name", ["nothing", "..", "<script>alert(1)</script>", "multi_head_attention\x00", "%"]
)
def test_a_challenge_that_does_not_exist_is_not_begun(studio: Studio, name: str) -> None:
    from urllib.parse import quote

    answer = studio.client.post(f"/challenge/{quote(name, safe='')}/start", headers=HERE)
    assert answer.status_code == 404
    assert "<script>alert" not in answer.text
    assert not studio.work.exists()


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"preset": "nothing"}, 409),
        ({"preset": "../../x"}, 409),
        ({"fresh": "x"}, 400),
        ({"fresh": "-1"}, 400),
        ({"fresh": "9" * 40}, 400),
        ({"fresh": "²"}, 400),
        ({"fresh": "7", "level": "../x"}, 400),
        ({"fresh": "7", "count": "0"}, 400),
        ({"fresh": "7", "count": "999"}, 409),
        ({f"x{n}": "y" for n in range(50)}, 400),
        ({"preset": "x" * 5000}, 200),
    ],
)
def test_a_form_that_is_not_ours_begins_nothing_odd(
    studio: Studio, form: dict[str, str], status: int
) -> None:
    answer = studio.client.post(f"/challenge/{NAME}/start", data=form, headers=HERE)
    assert answer.status_code == status, answer.text
    begun = [path.name for path in studio.work.iterdir()] if studio.work.exists() else []
    assert begun == ([NAME] if status == 200 else [])


def test_bodies_are_bounded(studio: Studio) -> None:
    studio.begin()
    before = studio.file.read_bytes()
    huge = b'{"text": "' + b"x" * MOST_BODY + b'"}'
    for page in CHANGES:
        answer = studio.client.post(page, content=huge, headers=HERE)
        assert answer.status_code == 413

    def drip():
        for _ in range(1 + MOST_BODY // 65536):
            yield b"x" * 65536

    headers = HERE | {"Content-Type": "application/json"}
    assert studio.client.post(CHANGES[1], content=drip(), headers=headers).status_code == 413
    for length in ("-1", "x", "0x10", "9" * 50):
        headers = {**HERE, "Content-Length": length}
        assert studio.client.post(CHANGES[1], headers=headers).status_code == 413
    assert studio.file.read_bytes() == before


@pytest.mark.parametrize(
    "body",
    [
        *(
            b"",
            b"x",
            b"[]",
            b"[" * 100_000,
            b'{"text": 1, "base": "x"}',
            b'{"text": "x"}',
            b"\xff",
            b"null",
        ),
        b'{"text": {"a": 1}, "base": ["x"]}',
    ],
)
def test_a_save_that_is_none_changes_nothing(studio: Studio, body: bytes) -> None:
    studio.begin()
    before = studio.file.read_bytes()
    headers = HERE | {"Content-Type": "application/json"}
    answer = studio.client.post(f"/attempt/{NAME}/file", content=body, headers=headers)
    assert answer.status_code == 400
    plain = {"Content-Type": "text/plain"}  # what a form of another site could send without asking
    assert studio.client.post(CHANGES[1], content=body, headers=HERE | plain).status_code == 415
    assert studio.file.read_bytes() == before


@pytest.mark.parametrize("kind", ["link", "dangling", "folder", "pipe"])
def test_what_is_no_ordinary_file_is_neither_read_nor_replaced(
    studio: Studio, kind: str, tmp_path: Path
) -> None:
    live = studio.begin()
    base = studio.client.get(f"/attempt/{NAME}/file").json()["digest"]
    studio.state("✗ failed")
    secret = tmp_path / "secret.py"
    secret.write_text(f"# {SECRET}\n")
    studio.file.unlink()
    if kind == "link":
        studio.file.symlink_to(secret)
    elif kind == "dangling":
        studio.file.symlink_to(tmp_path / "nothing")
    elif kind == "folder":
        studio.file.mkdir()
    else:
        os.mkfifo(studio.file)
    graded = len(studio.grader.graded)
    for how in ("save", "mine"):
        assert studio.save("x = 1\n", base, how).status_code == 422
    answers = [studio.client.get(f"/attempt/{NAME}{end}") for end in ("", "/file", "/log")]
    assert all(SECRET not in answer.text for answer in answers)
    studio.state("it cannot be read" if kind != "pipe" else "cannot be read")
    assert SECRET not in live.piece.html
    assert len(studio.grader.graded) == graded, "what a link leads to is not run"
    assert secret.read_text() == f"# {SECRET}\n"
    assert not (tmp_path / "nothing").exists()


HOSTILE = "</textarea></pre><script>alert(1)</script><img src=x onerror=alert(2)>\x1b[31m\u202e{{7*7}}\"'&"


def test_hostile_text_is_shown_as_text(studio: Studio) -> None:
    studio.grader.log = f"{HOSTILE}\r\n\nevent: ended\ndata: forged\n\n"
    studio.grader.words = HOSTILE
    live = studio.begin()
    studio.state("✗ failed")
    studio.file.write_text(f"# {HOSTILE}\n", "utf-8")
    studio.state('data-digest="')
    why = studio.client.post(
        f"/attempt/{NAME}/suspect", data={"lines": "1", "why": HOSTILE}, headers=HERE
    )
    wrong = studio.client.post(
        f"/attempt/{NAME}/suspect", data={"lines": HOSTILE, "why": ""}, headers=HERE
    )
    pages = [studio.client.get(f"/attempt/{NAME}{end}").text for end in ("", "/log")]
    for text in [*pages, live.piece.html, why.text, wrong.text]:
        assert "<script>alert" not in text
        assert "<img" not in text
        assert "49" not in text or "{{7*7}}" in text
    for text in [pages[1], live.piece.html, why.text, wrong.text]:
        assert "\x1b" not in text
        assert "\u202e" not in text
    assert pages[0].count("</textarea>") == 1


def test_what_a_file_prints_cannot_forge_an_event(studio: Studio) -> None:
    from grader.studio.live_attempt import Piece
    from grader.studio.studio_app import _event

    sent = _event(Piece(1, "a\r\n\r\nevent: ended\rdata: x\n\nid: 7")).decode()
    assert sent.endswith("\n\n")
    assert all(line.startswith("data: ") for line in sent.rstrip("\n").split("\n"))
    assert "\r" not in sent


def test_pages_of_control_characters_are_shortened(studio: Studio) -> None:
    studio.grader.log = ("\x1b]0;title\x07\x9b31m" * 200 + "\n") * 5000
    live = studio.begin()
    html = studio.state("Printed by your file")
    assert len(html) < 40_000
    assert "\x1b" not in html
    assert "\x9b" not in html
    assert live.piece.html == html


def test_no_key_of_the_watch_but_those_of_buttons_is_heard(studio: Studio) -> None:
    live = studio.begin()
    studio.state("✗ failed")
    for key in ("q", "t", "h", "Q", "%00", "rr", "é"):
        assert studio.client.post(f"/attempt/{NAME}/press/{key}", headers=HERE).status_code == 204
    graded = len(studio.grader.graded)
    assert studio.client.post(f"/attempt/{NAME}/press/r", headers=HERE).status_code == 204
    studio.state("graded 2 times")
    assert not live.ended
    assert len(studio.grader.graded) == graded + 1


def test_a_history_that_somebody_wrote_is_shown_as_text(studio: Studio) -> None:
    studio.begin()
    studio.state("✗ failed")
    event = {"at": 1, "what": "suspect", "lines": [1, 1], "text": HOSTILE, "why": HOSTILE}
    history = studio.file.parent / ".history.jsonl"
    with history.open("a") as stream:
        stream.write(json.dumps(event) + "\n" + "{broken\n" + "[" * 10_000 + "\n")
    text = studio.client.get(f"/attempt/{NAME}/log").text
    assert "<script>alert" not in text
    assert "\x1b" not in text
    for page in ("/", "/museum"):
        assert studio.client.get(page).status_code == 200
