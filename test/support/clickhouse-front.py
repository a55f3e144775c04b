"""ClickHouse's HTTP interface before chdb, which is ClickHouse's own engine within this process. It checks what it is sent."""

import json
import re
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qsl, urlsplit

from chdb import session

SESSION = session.Session()
SESSION.query("CREATE DATABASE IF NOT EXISTS usage ENGINE = Atomic")
SESSION.query(
    "CREATE TABLE usage.runs (run String, cpu Float64, at DateTime, note Nullable(String)) ENGINE = MergeTree ORDER BY run"
)
SESSION.query(
    "INSERT INTO usage.runs VALUES ('r-1', 1.5, '2026-01-01 00:00:00', NULL), ('r-2', 2.5, '2026-01-02 00:00:00', 'it''s'),"
    " ('tab\\there \\\\', 3, '2026-01-03 00:00:00', '')"
)
LIMITS = ["max_result_rows", "max_result_bytes", "result_overflow_mode", "max_execution_time", "output_format_json_quote_64bit_integers"]
ASKED = []


def quoted(value):
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


class Front(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer(200, json.dumps(ASKED).encode())

    def do_POST(self):
        sql = self.rfile.read(int(self.headers["content-length"])).decode()
        settings = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True, strict_parsing=True))
        ASKED.append({"sql": sql, "settings": settings})
        if self.headers["x-clickhouse-user"] not in ("reader", "strict") or self.headers["x-clickhouse-key"] != "clickhouse-password":
            return self.answer(516, b"Authentication failed: SECRET-WORDS")
        strict = self.headers["x-clickhouse-user"] == "strict"
        own = [name for name in settings if not name.startswith("param_") and name not in ("query_id", "database", "wait_end_of_query")]
        if strict and own:
            return self.answer(500, b"Code: 164. Cannot modify setting in readonly mode")
        if (settings.get("readonly") != "1" and not strict) or not re.fullmatch(r"postern-[0-9a-f]{32}", settings.get("query_id", "")):
            return self.answer(400, b"not read-only, or no query_id")
        if "sleepy" in sql:
            time.sleep(30)
        try:
            SESSION.query("USE " + settings.get("database", "default"))
            for name, value in settings.items():
                if name.startswith("param_") or name in LIMITS:
                    SESSION.query(f"SET {name} = {value if value.isdigit() and not name.startswith('param_') else quoted(value)}")
            self.answer(200, SESSION.query(re.sub(r"\nFORMAT JSONCompact$", "", sql), "JSONCompact").bytes())
        except Exception as error:  # noqa: BLE001 - whatever the engine says is the answer
            self.answer(400, ("SECRET-WORDS " + str(error)).encode())


server = HTTPServer(("127.0.0.1", int(sys.argv[1])), Front)
print("listening", flush=True)
server.serve_forever()
