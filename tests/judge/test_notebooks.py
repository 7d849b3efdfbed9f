"""A notebook is graded as the file that its code cells make, and lines are told as cells and lines."""

from __future__ import annotations

import json
from hashlib import sha256

from grader.content import load_challenge
from grader.content.validation import load_schema, schema_errors
from grader.diagnose.explain_failures import with_first_divergence
from grader.judge import grade_source
from grader.judge.result import Result

NAME = "multi_head_attention"
REFERENCE = load_challenge(NAME).reference_text


def notebook(*sources: str) -> bytes:
    cells = [{"cell_type": "code", "source": source.splitlines(True)} for source in sources]
    prose = {"cell_type": "markdown", "source": "# Attention"}
    return json.dumps({"nbformat": 4, "metadata": {}, "cells": [prose, *cells]}).encode()


def grade(data: bytes, sandbox_for, **options) -> Result:
    sandbox = sandbox_for(NAME)
    return grade_source(NAME, data, filename="mine.ipynb", sandbox=sandbox, **options)


def test_a_right_notebook_passes_and_what_was_left_out_is_reported(sandbox_for) -> None:
    head, body = REFERENCE.split("\nclass ", 1)
    data = notebook("%matplotlib inline\n" + head, "%%bash\nls\n", "%%time\nclass " + body)
    result = grade(data, sandbox_for)
    assert result.verdict == "passed"
    assert result.sha256 == sha256(data).hexdigest()
    document = result.document()
    assert document["submission"]["left_out"] == [
        "cell 2, line 1: %matplotlib inline",
        "cell 3: the whole cell, %%bash",
        "cell 4, line 1: %%time",
    ]
    assert not schema_errors(document, load_schema("result-v1"), "it")
    assert Result.from_document(document).left_out == result.left_out


def test_a_fault_is_told_by_cell_and_line(sandbox_for) -> None:
    text = REFERENCE.replace("math.sqrt(self.head_dim)", "mth.sqrt(self.head_dim)")
    head, body = text.split("\nclass ", 1)
    line = next(n for n, row in enumerate(("class " + body).split("\n"), 1) if "mth.sqrt(" in row)
    challenge = load_challenge(NAME)

    def trace(box, golden, result):
        from grader.content.handed_in import source_of

        source = source_of(data, "mine.ipynb", challenge.file)
        return with_first_divergence(box, challenge, golden, source, result)

    data = notebook(head, "class " + body)
    result = grade(data, sandbox_for, afterwards=trace)
    assert result.verdict == "failed"
    raised = [case.cause for case in result.cases if case.cause and case.cause.kind == "raised"]
    assert raised
    assert all((cause.help or "").startswith(f"Cell 3, line {line}: ") for cause in raised)
    told = [cause for cause in raised if cause.divergence]
    assert told
    assert f"(cell 3, line {line})" in f"{told[0].divergence} {told[0].manner}"
    assert told[0].raised_at == f"mine.ipynb, cell 3, line {line}"


def test_a_latin_1_file_with_its_coding_line_passes(sandbox_for) -> None:
    data = b"# -*- coding: latin-1 -*-\n# caf\xe9\n" + REFERENCE.encode()
    assert grade_source(NAME, data, sandbox=sandbox_for(NAME)).verdict == "passed"
