"""`kvdojo check`: several challenges at a time give what one after the other gives."""

from __future__ import annotations

import json
import shutil


def test_several_at_a_time_report_what_one_after_the_other_reports(dojo, capsys) -> None:
    folder = dojo.root / "challenges" / "small_sums"
    other = shutil.copytree(folder, folder.with_name("other_sums"))
    about = json.loads((other / "challenge.json").read_text()) | {"id": "other_sums"}
    (other / "challenge.json").write_text(json.dumps(about))
    (other / "cases.json").write_text("[")
    documents = []
    for jobs in ("1", "2"):
        assert dojo.run("check", "--jobs", jobs, "--json") == 3
        documents.append(json.loads(capsys.readouterr().out))
    assert documents[0] == documents[1]
    assert [one["challenge"] for one in documents[0]["challenges"]] == ["other_sums", "small_sums"]
    assert all(one["breaches"] for one in documents[0]["challenges"])


def test_no_job_at_all_is_refused(dojo, capsys) -> None:
    assert dojo.run("check", "--jobs", "0") == 2
    assert "--jobs" in capsys.readouterr().err
