"""Switches spans and the log on, as the environment says, and off again.

Spans follow OpenTelemetry's standard variables and go to a provider of their own, so that a
program around this one keeps its own. The log goes to standard error as JSON lines.
"""

from __future__ import annotations

import logging
import math
import os
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from domain.errors import ConfigurationError
from traces.logs import LOGGER, Correlate, JsonLines
from traces.spans import Spans

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.sdk.trace.sampling import Sampler

    from traces.otel import Fingerprint

LOG_VARIABLE = "SAFECONDUCT_LOG"
SAMPLED_RATIO = 0.1
CLOSING_SECONDS_MAX = 3.0

_LEVELS = ("debug", "info", "warning", "error")
_EXPORTERS = "opentelemetry_traces_exporter"
_EXPORTER = "OTEL_TRACES_EXPORTER"
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_OTLP = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}
_SAMPLERS = ("always_on", "always_off", "parentbased_always_on", "parentbased_always_off")
_RATIO_SAMPLERS = ("traceidratio", "parentbased_traceidratio")
_SAMPLER, _RATIO = "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"


@dataclass(slots=True)
class Telemetry:
    """What this process tells its operators while it works."""

    spans: Spans
    _stack: ExitStack

    def close(self) -> None:
        """Hand over what is waiting, within `CLOSING_SECONDS_MAX`, and take every handler away."""
        self._stack.close()


def open_telemetry(fingerprint: Fingerprint) -> Telemetry:
    """Read the environment. Raises `ConfigurationError` where it says what cannot be meant."""
    with ExitStack() as stack:
        _open_log(os.environ, stack)
        names = exporter_names(os.environ)
        spans = _open_spans(names, os.environ, fingerprint, stack) if names else Spans()
        return Telemetry(spans, stack.pop_all())


def exporter_names(environ: Mapping[str, str]) -> list[str]:
    """The exporters that the standard variables ask for; none is the default.

    An endpoint alone asks for `otlp`.
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return []
    wanted = environ.get(_EXPORTER, "").strip()
    if not wanted and _first(environ, _ENDPOINTS):
        wanted = "otlp"
    names = dict.fromkeys(name.strip() for name in wanted.split(","))
    return [name for name in names if name not in ("", "none")]


def _first(environ: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((environ[name].strip() for name in names if environ.get(name, "").strip()), "")


def _open_log(environ: Mapping[str, str], stack: ExitStack) -> None:
    given = environ.get(LOG_VARIABLE, "").strip().lower()
    if given and given not in _LEVELS:
        raise ConfigurationError(
            f"`{given}` is no level of the log",
            place=f"environment variable `{LOG_VARIABLE}`",
            remedy=f"use one of {', '.join(_LEVELS)}, or leave it empty for none",
        )
    # Where nobody handles a warning, Python would print it.
    handler: logging.Handler = logging.NullHandler()
    if given:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(JsonLines())
        handler.addFilter(Correlate())
    logger = logging.getLogger(LOGGER)
    before = logger.level
    logger.addHandler(handler)
    stack.callback(logger.removeHandler, handler)
    if given:
        logger.setLevel(given.upper())
        stack.callback(logger.setLevel, before)


def _open_spans(
    names: list[str], environ: Mapping[str, str], fingerprint: Fingerprint, stack: ExitStack
) -> Spans:
    from opentelemetry.sdk.trace import TracerProvider  # 0.1 s to import
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    from traces.otel import OtelSpans

    warning = _OneWarning()
    warning.take("opentelemetry")
    stack.callback(warning.give_back)
    try:
        provider = TracerProvider(_sampler(environ), _resource(), shutdown_on_exit=False)
        exporters = [_exporter(name, environ) for name in names]
        for exporter in exporters:
            provider.add_span_processor(BatchSpanProcessor(exporter))
    except (ValueError, TypeError, ImportError, OSError) as error:
        raise ConfigurationError(
            f"the spans cannot be switched on: {error}",
            place="environment variables `OTEL_*`",
            remedy="mend the variable, or switch them off with `OTEL_SDK_DISABLED=true`",
        ) from error
    stack.callback(_shut_down, provider, exporters, warning)
    return OtelSpans(provider.get_tracer("safeconduct"), fingerprint)


def _sampler(environ: Mapping[str, str]) -> Sampler | None:
    """One in ten by default; None leaves it to the SDK, which reads the standard variables.

    They are checked here: the SDK would sample everything where it does not understand them.
    """
    from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

    name = environ.get(_SAMPLER, "").strip().lower()
    known = {*_SAMPLERS, *_RATIO_SAMPLERS, *_installed("opentelemetry_traces_sampler")}
    if name and name not in known:
        raise ConfigurationError(
            f"there is no sampler `{name}`",
            place=f"environment variable `{_SAMPLER}`",
            remedy=f"use one of {', '.join(sorted(known))}",
        )
    if name:
        if name in _RATIO_SAMPLERS:
            _ratio(environ, 1.0)
        return None
    return ParentBasedTraceIdRatio(_ratio(environ, SAMPLED_RATIO))


def _ratio(environ: Mapping[str, str], default: float) -> float:
    given = environ.get(_RATIO, "").strip()
    try:
        ratio = float(given or default)
    except ValueError:
        ratio = math.nan
    if not 0 <= ratio <= 1:
        raise ConfigurationError(
            f"`{given}` is no ratio",
            place=f"environment variable `{_RATIO}`",
            remedy=f"write a number from 0 to 1, such as {SAMPLED_RATIO}",
        )
    return ratio


def _installed(group: str) -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points

    return {entry.name: entry for entry in entry_points(group=group)}


def _resource() -> Any:
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource

    found = Resource.create()
    if str(found.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        return found.merge(Resource({SERVICE_NAME: LOGGER}))
    return found


def _exporter(name: str, environ: Mapping[str, str]) -> SpanExporter:
    if name == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter(out=sys.stderr)  # standard output is for the decisions
    found = _installed(_EXPORTERS)
    wanted = name
    if name == "otlp" and name not in found:
        protocol = _first(environ, _PROTOCOLS) or "http/protobuf"
        wanted = _OTLP.get(protocol, protocol)
    if wanted not in found:
        known = sorted({"otlp", *found})
        raise ConfigurationError(
            f"no exporter of spans `{wanted}` is installed",
            place=f"environment variable `{_EXPORTER}`",
            remedy=f"use one of {', '.join(known)}, or install the package that brings it",
        )
    make: Callable[[], SpanExporter] = found[wanted].load()
    return make()


def _shut_down(
    provider: TracerProvider, exporters: list[SpanExporter], warning: _OneWarning
) -> None:
    """Hand over the last spans, but wait no longer for a collector than is decent."""
    thread = threading.Thread(target=provider.shutdown, name="last spans", daemon=True)
    thread.start()
    thread.join(CLOSING_SECONDS_MAX)
    if not thread.is_alive():
        return
    warning.say(f"the last ones were not taken within {CLOSING_SECONDS_MAX:.0f} s")
    for exporter in exporters:
        exporter.shutdown()  # ends its waiting between two attempts
    thread.join(CLOSING_SECONDS_MAX)


class _OneWarning(logging.Handler):
    """Says the first thing that goes wrong with the spans in one line, and nothing after it."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._said = False
        self._logger = logging.getLogger()
        self._propagated = True

    def take(self, name: str) -> None:
        """Handle that logger's records instead of everybody else."""
        self._logger = logging.getLogger(name)
        self._propagated, self._logger.propagate = self._logger.propagate, False
        self._logger.addHandler(self)

    def give_back(self) -> None:
        """Leave the logger as it was."""
        self._logger.removeHandler(self)
        self._logger.propagate = self._propagated

    def emit(self, record: logging.LogRecord) -> None:
        """The record's own words, without its traceback."""
        self.say(record.getMessage().partition("\n")[0])

    def say(self, words: str) -> None:
        """Say it, unless something was said before."""
        if not self._said:
            self._said = True
            sys.stderr.write(
                f"safeconduct: spans: {words}; decisions go on without them, further warnings "
                "are not shown: see that the collector is there and the `OTEL_*` variables right\n"
            )
