from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from domain.errors import ConfigurationError
from domain.verdict import CLEARED_BY
from service.telemetry import exporter_names, open_telemetry
from tests.shop import cart, consent, open_shop, row

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "service" / "samples" / "events.jsonl"
ALL = {"OTEL_TRACES_SAMPLER": "always_on"}


def run(arguments: list[str], folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, without this one's OpenTelemetry variables."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return subprocess.run(
        [sys.executable, "-m", "service.cli", *arguments],
        cwd=folder, env={**kept, "PYTHONPATH": str(ROOT), **variables},
        capture_output=True, text=True,
    )  # fmt: skip


def spans(text: str) -> list[dict[str, Any]]:
    """The spans that the console exporter wrote between other lines."""
    found, decoder, at = [], json.JSONDecoder(), text.find("{\n")
    while at >= 0:
        span, end = decoder.raw_decode(text, at)
        found.append(span)
        at = text.find("{\n", end)
    return found


def lines(text: str) -> list[dict[str, Any]]:
    """The lines of the log between other output."""
    return [json.loads(line) for line in text.splitlines() if line.startswith('{"at"')]


def texts(value: Any) -> Iterator[str]:
    """Every text and number in a document, keys left out."""
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)
    elif isinstance(value, str | float) and not isinstance(value, bool):
        yield str(value)


PERSONAL = ("user_id", "anonymous_id", "email", "phone", "identifiers", "traits", "properties")


def personal(rows: list[dict[str, Any]]) -> set[str]:
    """What the rows say of their customers: every identifier, trait and property.

    A channel, a purpose or a code is the workspace's own word, and may be named.
    """
    words = {text for said in rows for key in PERSONAL for text in texts(said.get(key))}
    return words - {"email", "sms", "marketing"} - CLEARED_BY.keys()


STORY = [
    consent("granted", "2026-10-05T08:00:00Z", "Ünal-77", email="unal@shop.example",
            traits={"first_name": "Ünal", "plan": "gold-plan"}, wording="Ja, gerne!"),
    cart("2026-10-05T09:00:00Z", "Ünal-77", cart_id="k-ünal", note="leave it at no. 9"),
    row("contact_opened", "2026-10-05T10:00:00Z", "Ünal-77", topic="broken zip", message="It tore"),
    row("contact_opened", "2026-10-05T11:00:00Z", "Ünal-77", topic="broken zip", message="Again"),
    cart("2026-10-05T21:30:00Z", "c-9", phone="+4915112345678", identifiers={"loyalty": "l-4711"}),
    {"event": "Ada Byron called from 12 St James's Square", "at": "2026-10-05T22:00:00Z",
     "user_id": "ada-1", "id": "ada.byron@shop.example"},
]  # fmt: skip


def test_neither_spans_nor_the_log_say_anything_personal(tmp_path: Path) -> None:
    """No identifier, trait, property, message, event name or profile id of a run is in either."""
    given = tmp_path / "unal-events.jsonl"
    samples = SAMPLES.read_text(encoding="utf-8")
    given.write_text(
        samples + "".join(json.dumps(said, ensure_ascii=False) + "\n" for said in STORY),
        encoding="utf-8",
    )
    ran = run(
        ["run", str(given), "--json"], tmp_path,
        OTEL_TRACES_EXPORTER="console", SAFECONDUCT_LOG="debug", **ALL,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    decided = [json.loads(line) for line in ran.stdout.splitlines()]
    seen, said = spans(ran.stderr), lines(ran.stderr)
    made = {line["decision_id"] for line in decided if line["verdict"] not in ("duplicate", "dead")}
    named = {s["attributes"].get("safeconduct.decision.id") for s in seen} - {None}
    assert named == made == {line["decision_id"] for line in said if line["message"] == "decided"}
    assert [line["code"] if "code" in line else line["reason"] for line in said
            if line["message"] == "a dead letter"] == ["invalid_field"]  # fmt: skip

    rows = [json.loads(line) for line in samples.splitlines()]
    secret = personal([*rows, *STORY]) | {said["profile_id"] for said in decided} - {None}
    secret |= {"Ada Byron", "ada.byron@shop.example", "unal-events", str(tmp_path)}
    telemetry = "\n".join(json.dumps(one, ensure_ascii=False) for one in [*seen, *said])
    whole = given.read_text(encoding="utf-8") + ran.stdout + str(given)
    assert {word for word in secret if word in whole} == secret
    assert len(secret) > 60
    values = {text for one in [*seen, *said] for text in texts(one)}
    assert secret & values == set()
    # Digits alone stand in every id and instant.
    told = {
        word for word in secret if len(word) > 8 or (len(word) > 3 and word.strip("0123456789.-+"))
    }
    quoted = {word for word in told if word in telemetry}
    assert quoted <= {"letter"}  # a channel in a sample, and what a dead letter is called


def test_a_command_is_silent_and_imports_no_telemetry_by_default(tmp_path: Path) -> None:
    """Without the variables nothing is printed that was not before, and no exporter is loaded.

    LangGraph's own tracing imports part of OpenTelemetry wherever it is installed.
    """
    code = (
        "import sys; from service.cli import main\n"
        "done = main(sys.argv[1:])\n"
        "wanted = ('opentelemetry', 'traces.otel', 'service.telemetry')\n"
        "print(*sorted(m for m in sys.modules if m.startswith(wanted)), file=sys.stderr)\n"
        "sys.exit(done)"
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}

    def loaded(*command: str, **variables: str) -> set[str]:
        ran = subprocess.run(
            [sys.executable, "-c", code, *(command or ("run", str(SAMPLES)))],
            cwd=tmp_path, env={**kept, "PYTHONPATH": str(ROOT), **variables},
            capture_output=True, text=True,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        assert variables or len(ran.stderr.splitlines()) == 1
        return set(ran.stderr.split())

    dear = {"traces.otel", "opentelemetry.sdk.trace.export"}
    assert loaded("--help") == set()
    assert not loaded() & dear
    assert not loaded(OTEL_SDK_DISABLED="true", OTEL_TRACES_EXPORTER="console") & dear
    assert loaded(OTEL_TRACES_EXPORTER="console", **ALL) >= dear


@pytest.mark.parametrize(
    ("variables", "names"),
    [
        ({}, []),
        ({"OTEL_TRACES_EXPORTER": ""}, []),
        ({"OTEL_TRACES_EXPORTER": "none"}, []),
        ({"OTEL_TRACES_EXPORTER": "otlp, console,otlp"}, ["otlp", "console"]),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, ["otlp"]),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, ["otlp"]),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}, []),
        ({"OTEL_TRACES_EXPORTER": "console", "OTEL_SDK_DISABLED": " True"}, []),
    ],
)
def test_the_standard_variables_switch_spans_on_and_off(
    variables: dict[str, str], names: list[str]
) -> None:
    """An exporter or an endpoint asks for spans; `none` and the switch of the SDK win."""
    assert exporter_names(variables) == names


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        (
            {"OTEL_TRACES_EXPORTER": "zipkin"},
            "`OTEL_TRACES_EXPORTER`: no exporter of spans `zipkin`",
        ),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "carrier-pigeon"},
            "no exporter of spans `carrier-pigeon` is installed",
        ),
        ({"OTEL_TRACES_EXPORTER": "console", "OTEL_TRACES_SAMPLER_ARG": "7"}, "`7` is no ratio"),
        (
            {
                "OTEL_TRACES_EXPORTER": "console",
                "OTEL_TRACES_SAMPLER": "traceidratio",
                "OTEL_TRACES_SAMPLER_ARG": "half",
            },
            "`half` is no ratio",
        ),
        (
            {"OTEL_TRACES_EXPORTER": "console", "OTEL_TRACES_SAMPLER": "sometimes"},
            "there is no sampler `sometimes`",
        ),
        ({"OTEL_TRACES_EXPORTER": "console", "OTEL_BSP_MAX_QUEUE_SIZE": "-1"}, "max_queue_size"),
        ({"SAFECONDUCT_LOG": "loud"}, "`SAFECONDUCT_LOG`: `loud` is no level"),
    ],
)
def test_a_variable_that_cannot_be_meant_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], words: str
) -> None:
    """The error names the variable, the fault and a remedy; nothing is left switched on."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    before = [logging.getLogger(name).handlers[:] for name in ("safeconduct", "opentelemetry")]
    with pytest.raises(ConfigurationError) as raised:
        open_telemetry(lambda kind, text: text)
    assert words in str(raised.value)
    assert raised.value.remedy
    after = [logging.getLogger(name).handlers[:] for name in ("safeconduct", "opentelemetry")]
    assert after == before


class Collector:
    """A collector of OTLP over HTTP: keeps what it is sent."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        self.paths: list[str] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                owner.paths.append(self.path)
                owner.requests.append(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> Collector:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def test_a_collector_gets_every_span_in_its_own_protocol(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An endpoint is all that is needed; what was decided has arrived when the shop closes."""
    with Collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_on")
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
        with open_shop(tmp_path / "w") as shop:
            decided = shop.run(
                consent("granted", "2026-10-05T08:00:00Z", email="a@shop.example"),
                cart("2026-10-05T09:00:00Z"),
            )
    assert set(collector.paths) == {"/v1/traces"}
    groups = [group for request in collector.requests for group in request.resource_spans]
    resource = {a.key: a.value.string_value for a in groups[0].resource.attributes}
    assert resource["service.name"] == "safeconduct"
    assert resource["deployment.environment.name"] == "test"
    found = [span for group in groups for scope in group.scope_spans for span in scope.spans]
    ids = {
        a.value.string_value
        for s in found
        for a in s.attributes
        if a.key == "safeconduct.decision.id"
    }
    assert ids == {line["decision_id"] for line in decided}
    assert {span.name for span in found} == {
        "invoke_agent supervisor", "safeconduct perceive", "safeconduct decide",
        "safeconduct commit", "execute_tool message",
    }  # fmt: skip


def test_a_collector_that_is_not_there_costs_one_line(tmp_path: Path) -> None:
    """Every decision is made and printed as ever; standard error has one warning, no traceback."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and nobody listens
        ran = run(
            ["run", str(SAMPLES)], tmp_path,
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{taken.getsockname()[1]}", **ALL,
        )  # fmt: skip
    (tmp_path / "plain").mkdir()
    plain = run(["run", str(SAMPLES)], tmp_path / "plain")
    assert ran.returncode == plain.returncode == 0
    assert ran.stdout == plain.stdout
    (warning,) = ran.stderr.splitlines()
    assert warning.startswith("safeconduct: spans: ")
    assert plain.stderr == ""


def test_what_was_switched_on_is_switched_off_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A shop that closes leaves no handler, level or thread behind it."""
    monkeypatch.setenv("SAFECONDUCT_LOG", "info")
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    loggers = [logging.getLogger(name) for name in ("safeconduct", "opentelemetry")]
    before = [(logger.level, logger.handlers[:], logger.propagate) for logger in loggers]
    threads = set(threading.enumerate())
    with open_shop(tmp_path / "w") as shop:
        shop.run(cart("2026-10-05T09:00:00Z"))
        assert set(threading.enumerate()) - threads
    assert [(lg.level, lg.handlers[:], lg.propagate) for lg in loggers] == before
    assert not set(threading.enumerate()) - threads
    (line,) = lines(capsys.readouterr().err)
    assert line["logger"] == "safeconduct.agents"
