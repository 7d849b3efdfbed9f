"""Result documents of every kind, made by hand: what a format does with them is the question here."""

from __future__ import annotations

from typing import Any

from grader.content.validation import load_schema, schema_errors

NASTY = "a]]>&<b> \"'\x1b[31m\x00\x08\ud800\ufffe\u202e|`*@all #1 %0A::error::x\nnext\r\nline"


def cause(kind: str | None = "wrong_value", **more: Any) -> dict[str, Any]:
    empty = dict.fromkeys(("help", "expected", "actual", "where"))
    return {"rationale": "It differs.", **empty, **more, "kind": kind}


def case(name: str, status: str, points: float = 2, **more: Any) -> dict[str, Any]:
    made = {
        "id": name,
        "title": f"Case {name}",
        "status": status,
        "points": points if status == "passed" else 0,
        "max_points": 0 if status == "skipped" else points,
        "seconds": 0.01,
        "cause": None
        if status == "passed"
        else cause(None if status in ("error", "skipped") else "wrong_value"),
    }
    return {**made, **more}


def document(cases: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    states = {item["status"] for item in cases}
    verdict = "failed" if "failed" in states else "error" if "error" in states else "passed"
    made = {
        "schema": "kvdojo/result/v1",
        "challenge": "not_in_this_checkout",
        "submission": {"file": "kv_attention.py", "sha256": "0" * 64},
        "verdict": verdict,
        "score": sum(item["points"] for item in cases),
        "max_score": sum(item["max_points"] for item in cases),
        "seconds": 1.5,
        "cases": cases,
        "bugs": [
            {"id": "left-in", "title": "The secret title", "status": "present"},
            {"id": "mended", "title": "Another", "status": "fixed"},
        ],
        "environment": {
            "python": "3.11.7",
            "torch": None,
            "triton": None,
            "device": "cpu",
            "isolation": ["process", "rlimits", "seccomp"],
        },
        **more,
    }
    assert schema_errors(made, load_schema("result-v1"), "made") == []
    return made


def every_kind() -> dict[str, Any]:
    where = {"step": 1, "output": "out", "index": [0, 3]}
    return document(
        [
            case("right", "passed"),
            case(
                "wrong",
                "failed",
                cause=cause(expected="1.0", actual="2.0", where=where, help="Look."),
            ),
            case("raises", "failed", cause=cause("raised")),
            case("slow", "failed", cause=cause("timeout")),
            case("left-out", "skipped"),
            case(
                "ours",
                "error",
                cause=cause(None, rationale="Could not be judged: the disk is full"),
            ),
        ]
    )
