"""The pages for authors and instructors: what they show, what they refuse, and that learners do not have them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from starlette.testclient import TestClient
from studio.made_studio import HERE, HOST, NAME, Studio

from grader.classroom.run_batch import BatchOptions, run_batch
from grader.cli.main import cli
from grader.cli.studio_command import services_of
from grader.content import Catalogue, load_challenge
from grader.ground.errors import UserError
from grader.ground.limits import MAX_CASE_FILE_BYTES
from grader.studio.case_trial import begun_case, faults_of, worth_of, written
from grader.studio.class_folder import STARTER, ClassFolder
from grader.studio.gatekeeper import Gatekeeper
from grader.studio.instructor_pages import instructor_routes
from grader.studio.open_attempts import OpenAttempts
from grader.studio.recorded_matrix import MatrixFilter, recorded_matrix
from grader.studio.studio_app import studio_app
from tests.classroom.conftest import CHALLENGE, Workers

HOSTILE = "</pre><script>alert(1)</script>\x1b[31m\u202e{{7*7}}"
LEARNER = "<b>Jo\u202e"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished batch of four."""
    place = tmp_path_factory.mktemp("class")
    searched = place / "in"
    for name, text in {
        "ann": CHALLENGE.reference_text,
        "ben": CHALLENGE.starter.read_text("utf-8"),
        "cy": f"x = '''{HOSTILE}'''\n" + "y" * 2000 + "\n",
        LEARNER: CHALLENGE.reference_text,
    }.items():
        (searched / name).mkdir(parents=True)
        (searched / name / CHALLENGE.file).write_text(text, "utf-8")
    run_batch(BatchOptions(CHALLENGE, searched, place / "out"), pool_opener=Workers().open)
    return place / "out"


@pytest.fixture
def client(folder: Path) -> Iterator[TestClient]:
    catalogue = Catalogue()
    more, places = instructor_routes(catalogue, True, ClassFolder(folder, catalogue))
    attempts = OpenAttempts(services_of(catalogue))
    door = Gatekeeper(studio_app(attempts, more, places), [HOST], "studio")
    made = TestClient(door, base_url=f"http://{HOST}")
    made.get("/", params={"key": door.key})
    yield made
    attempts.close()


def test_learners_do_not_have_these_pages(studio: Studio) -> None:
    for path in ("/authors", f"/authors/{NAME}", f"/authors/{NAME}/case", "/class", "/class/files"):
        assert studio.client.get(path).status_code == 404
    assert studio.client.post(f"/authors/{NAME}/check", headers=HERE).status_code == 404
    assert "/authors" not in studio.client.get("/").text


def test_every_page_leads_to_what_was_asked_for(client: TestClient) -> None:
    for path in ("/", "/museum", "/authors", f"/authors/{NAME}", "/class"):
        text = client.get(path).text
        assert 'href="/authors"' in text
        assert 'href="/class"' in text
    catalogue = Catalogue()
    routes, places = instructor_routes(catalogue, True, None)
    assert [place.href for place in places] == ["/authors"]
    assert not any(route.path.startswith("/class") for route in routes)


def test_strangers_have_nothing_and_others_may_ask_for_nothing(client: TestClient) -> None:
    stranger = TestClient(client.app, base_url=f"http://{HOST}", follow_redirects=False)
    for path in ("/authors", f"/authors/{NAME}", "/class", "/class/files"):
        assert stranger.get(path).status_code == 403
    data = {"case": "{}"}
    for origin in ({}, {"Origin": "http://evil.example"}):
        answer = client.post(f"/authors/{NAME}/check", data=data, headers=origin)
        assert answer.status_code == 403


# ------------------------------------------------------------------------------------------------ the matrix


def test_the_matrix_is_that_of_the_witnesses() -> None:
    challenge = load_challenge(NAME)
    found = recorded_matrix(challenge, MatrixFilter())
    bugs = [bug for bug in challenge.bugs.values() if bug.kind == "bug"]
    assert [row.bug.id for row in found.bugs] == [bug.id for bug in bugs]
    assert len(found.cases) == len(challenge.cases)
    for row in found.bugs:
        assert row.witnesses == tuple(challenge.bugs[row.bug.id].witnesses)
        for other in row.hidden_by:
            assert set(row.witnesses) <= set(challenge.bugs[other].witnesses)
    for column in found.cases:
        assert column.catches == sum(column.case.id in bug.witnesses for bug in bugs)
        for name in column.alone:
            kinds = [challenge.cases[case].kind for case in challenge.bugs[name].witnesses]
            assert kinds.count(column.case.kind) == 1


@pytest.mark.parametrize(
    ("given", "bugs", "cases"),
    [
        ({"bug": "SCALE"}, lambda bug: "scale" in f"{bug.id} {bug.title}".lower(), None),
        ({"family": "scaling"}, lambda bug: bug.family == "scaling", None),
        ({"kind": "unit"}, None, lambda case: case.kind == "unit"),
        (
            {"case": "capacity"},
            None,
            lambda case: "capacity" in f"{case.id} {case.title} {case.tags}",
        ),
    ],
)
def test_a_filter_leaves_what_it_says(given: dict[str, str], bugs: Any, cases: Any) -> None:
    challenge = load_challenge(NAME)
    found = recorded_matrix(challenge, MatrixFilter.of(given))
    planted = [bug for bug in challenge.bugs.values() if bug.kind == "bug"]
    assert [row.bug for row in found.bugs] == [bug for bug in planted if not bugs or bugs(bug)]
    assert [column.case for column in found.cases] == [
        case for case in challenge.cases.values() if not cases or cases(case)
    ]
    assert 0 < len(found.bugs) + len(found.cases) < found.all_bugs + found.all_cases


def test_only_what_no_other_case_of_its_kind_catches(client: TestClient) -> None:
    challenge = load_challenge(NAME)
    found = recorded_matrix(challenge, MatrixFilter(alone=True))
    assert 0 < len(found.cases) < len(challenge.cases)
    assert all(column.alone for column in found.cases)
    text = client.get(f"/authors/{NAME}?alone=1").text
    assert text.count("★") > len(found.bugs) - 1
    assert f"{len(found.bugs)} of {found.all_bugs} bugs" in text


def test_a_script_gets_the_part_alone(client: TestClient) -> None:
    part = client.get(f"/authors/{NAME}?bug=scale", headers={"HX-Request": "true"}).text
    assert "<html" not in part
    assert "seed-scale-missing-sqrt" in part
    assert "seed-cache-cat-dim2</th>" not in part


@pytest.mark.parametrize("value", [HOSTILE, "x" * 20_000, "", "%00", "../../etc/passwd"])
@pytest.mark.parametrize("name", ["bug", "case", "family", "kind", "alone", "more"])
def test_a_filter_may_be_anything(client: TestClient, name: str, value: str) -> None:
    answer = client.get(f"/authors/{NAME}", params={name: value})
    assert answer.status_code == 200
    assert "<script>alert" not in answer.text
    assert len(answer.text) < 200_000


def test_every_challenge_has_its_pages(client: TestClient) -> None:
    listed = client.get("/authors").text
    for name in Catalogue().ids():
        assert f'href="/authors/{name}"' in listed
        assert client.get(f"/authors/{name}").status_code == 200
        assert client.get(f"/authors/{name}/case").status_code == 200
    for path in ("/authors/nothing", "/authors/nothing/case", "/authors/..%2f..%2fetc"):
        assert client.get(path).status_code == 404


# ------------------------------------------------------------------------------------------------ a new case


def own_case() -> dict[str, Any]:
    case: dict[str, Any] = json.loads(begun_case(load_challenge(NAME)))
    return case | {"title": "Four tokens, then two", "why": "Finds masks that begin at zero."}


def check(client: TestClient, text: str) -> str:
    answer = client.post(f"/authors/{NAME}/check", data={"case": text}, headers=HERE)
    assert answer.status_code == 200
    return answer.text


def test_a_case_is_checked_while_it_is_written(client: TestClient) -> None:
    page = client.get(f"/authors/{NAME}/case").text
    assert "my-case" in page
    assert 'data-verb="forward"' in page
    assert "still say what" in check(client, begun_case(load_challenge(NAME)))
    assert "Nothing wrong; it draws" in check(client, json.dumps(own_case()))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"id": "one-head"}, "is taken by another case"),
        ({"kind": "unti"}, "Did you mean &#39;unit&#39;?"),
        ({"steps": [{"do": "forwrad", "tokens": 3}]}, "Did you mean &#39;forward&#39;?"),
        ({"steps": [{"do": "forward", "tokens": 3, "live": "a"}]}, "no step before saves"),
        ({"steps": [{"do": "forward", "tokens": 10**9}]}, "10"),
        ({"seed": 3.5}, "seed"),
        ({HOSTILE: 1}, "alert"),
    ],
)
def test_the_faults_are_those_of_case_lint(
    client: TestClient, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    case = own_case() | change
    text = check(client, json.dumps(case))
    assert "to mend" in text
    assert said in text
    assert "<script>" not in text
    assert "\x1b" not in text
    file = tmp_path / "case.json"
    file.write_text(json.dumps(case))
    lint = CliRunner().invoke(cli, ["case", "lint", NAME, str(file)])
    assert lint.exit_code != 0
    assert text.count("<li>") == len(faults_of(load_challenge(NAME), json.dumps(case)).faults)


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "null", "[]", "7", '"case"', "[" * 5000, '{"a": 1, "a": 2}', "\ud800", "\x00"),
        *('{"steps": {"$ref": "#"}}', '{"cases": [{}, {}]}', "NaN", '{"id": 1e999}', HOSTILE),
    ],
)
def test_any_text_is_answered_by_faults(client: TestClient, text: str) -> None:
    found = faults_of(load_challenge(NAME), text)
    assert found.faults
    assert all(len(line) <= 400 for line in found.faults)
    if text != "\ud800":
        assert "to mend" in check(client, text)


def test_a_case_as_long_as_a_book_is_refused(client: TestClient) -> None:
    case = own_case() | {"why": "x" * MAX_CASE_FILE_BYTES}
    assert "larger than 256 KiB" in check(client, json.dumps(case))
    for body in (b"", b"case", b"\xff=1", b"&".join(b"a=1" for _ in range(99))):
        headers = {**HERE, "Content-Type": "application/x-www-form-urlencoded"}
        answer = client.post(f"/authors/{NAME}/check", content=body, headers=headers)
        assert answer.status_code in (200, 400)


def test_text_is_written_a_line_a_step() -> None:
    case = own_case()
    assert json.loads(written(case)) == case
    assert len(written(case).splitlines()) == len(case) + len(case["steps"]) + 3


def test_the_worth_of_a_case_is_that_of_case_add(client: TestClient) -> None:
    challenge = load_challenge("static_cache")
    before = {path: path.read_bytes() for path in challenge.folder.rglob("*") if path.is_file()}
    case: dict[str, Any] = json.loads(begun_case(challenge))
    case |= {"title": "One more", "why": "Finds masks that begin at zero.", "seed": 4242}
    found = worth_of(challenge, json.dumps(case))
    assert found.lines[0] == "my-case (scenario)"
    kills = re.search(r"kills +(\d+) of (\d+) bugs", "\n".join(found.lines))
    assert kills
    assert 0 < int(kills[1]) <= int(kills[2])
    after = {path: path.read_bytes() for path in challenge.folder.rglob("*") if path.is_file()}
    assert after == before, "nothing was written"


def test_what_has_no_worth_says_why(client: TestClient) -> None:
    for text in ("{", begun_case(load_challenge(NAME))):
        answer = client.post(f"/authors/{NAME}/worth", data={"case": text}, headers=HERE)
        assert answer.status_code == 200
        assert "notice error" in answer.text


# ------------------------------------------------------------------------------------------------ the class


def test_the_class_shows_learners_and_bugs(client: TestClient) -> None:
    text = client.get("/class").text
    assert "4 submissions" in text
    for name in ("ann", "ben", "cy"):
        assert f">{name}</a>" in text
    assert "&lt;b&gt;Jo\\u202e" in text
    assert "<b>Jo" not in text
    assert "Difficulty here" in text


def test_two_files_stand_side_by_side(client: TestClient) -> None:
    text = client.get("/class/files", params={"left": STARTER, "right": "ann"}).text
    assert "self.scale = self.head_dim" in text
    assert "self.scale = math.sqrt(self.head_dim)" in text
    shown = client.get("/class/files", params={"left": "cy", "right": "the reference"}).text
    assert "&lt;/pre&gt;&lt;script&gt;" in shown
    assert "<script>alert" not in shown
    assert "\x1b" not in shown
    assert "\\u202e" in shown
    assert "y" * 401 not in shown


@pytest.mark.parametrize(
    "name", ["nobody", "../batch", "/etc/passwd", "cy.py", "", "\x00", HOSTILE, "x" * 5000]
)
def test_no_other_file_is_shown(client: TestClient, name: str) -> None:
    for side in ("left", "right"):
        answer = client.get("/class/files", params={side: name})
        assert answer.status_code == 409
        assert "There is no such submission" in answer.text
        assert "root:" not in answer.text


def test_a_link_in_the_place_of_a_copy_is_not_followed(
    folder: Path, client: TestClient, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("do-not-read-me")
    copy = folder / "sources" / "ben.py"
    kept = copy.read_bytes()
    copy.unlink()
    copy.symlink_to(secret)
    try:
        answer = client.get("/class/files", params={"left": "ben", "right": "ann"})
        assert answer.status_code == 409
        assert "do-not-read-me" not in answer.text
    finally:
        copy.unlink()
        copy.write_bytes(kept)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": "kvdojo/batch/v1"}'])
def test_a_folder_that_is_no_batch_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    if text:
        (tmp_path / "batch.json").write_text(text)
    run = CliRunner().invoke(cli, ["studio", "--no-open", "--class", str(tmp_path)])
    assert isinstance(run.exception, UserError)
    assert run.exception.exit_code == 2
    assert str(run.exception).startswith(f"{tmp_path} holds no batch that can be read")
    assert "\n" not in str(run.exception)
