#!/usr/bin/env python3
"""Verifies a record of Postern without Postern: Python 3.8 and its standard library, nothing else.

    verify_record.py DIRECTORY --key audit-key.pub.pem [--anchor FILE]...
    verify_record.py --report proof.json --nonce TEXT --key audit-key.pub.pem

The record is a folder of files record-00000001.jsonl, record-00000002.jsonl, ... Each line is one JSON object:

    {"segment": {...}}     the first line of a file: the hash that it goes on from, and whose record it is
    {"n": 17, ...}         one line of the record; n grows by one from line to line
    {"n": 18, "event": "key", ...}  another key signs from here on: signed by the one before over "postern record key 1\n", both
    {"batch": {...}}       ends a batch: hash = SHA-256(prev, "\\n", all bytes between this line and the last batch)
    {"checkpoint": {...}}  n and hash of the last batch, signed by the audit key (Ed25519, RFC 8032)

A report is what `agent prove --out` writes: {"report": TEXT, "key": ..., "signature": ...}, signed over "postern proof 1\n" and TEXT.

Exit: 0 the record is whole, 1 it is not, 2 it cannot be read.
"""
import argparse
import base64
import datetime
import hashlib
import json
import os
import re
import sys
import time

# --- Ed25519, verification only: RFC 8032, section 5.1.7, and the formulas of its section 6 ---
P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)


def recover(y, sign):
    """The x of a point, or None where there is none."""
    if y >= P:
        return None
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    if x2 == 0:
        return None if sign else 0
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P:
        x = x * ROOT % P
    if (x * x - x2) % P:
        return None
    return P - x if x & 1 != sign else x


def decompress(data):
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    x = recover(y, sign)
    return None if x is None else (x, y, 1, x * y % P)


def add(a, b):
    m, n = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    c, d = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = n - m, d - c, d + c, n + m
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def times(scalar, point):
    result = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point, scalar = add(point, point), scalar >> 1
    return result


BASE_Y = 4 * pow(5, P - 2, P) % P
BASE = (recover(BASE_Y, 0), BASE_Y, 1, recover(BASE_Y, 0) * BASE_Y % P)


def is_signed(public, message, signature):
    if len(public) != 32 or len(signature) != 64:
        return False
    a, r = decompress(public), decompress(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= L:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % L
    left, right = times(s, BASE), add(r, times(h, a))
    return (left[0] * right[2] - right[0] * left[2]) % P == 0 and (left[1] * right[2] - right[1] * left[2]) % P == 0


# --- keys and anchors ---
SPKI = bytes.fromhex("302a300506032b6570032100")  # RFC 8410: what stands before the 32 bytes of an Ed25519 key


def read_key(path):
    """The identifier of a public key (SHA-256 of its SubjectPublicKeyInfo), and its 32 bytes."""
    with open(path, encoding="ascii") as file:
        body = re.search(r"BEGIN PUBLIC KEY-+\s+(.*?)-+END", file.read(), re.S)
    spki = base64.b64decode("".join(body.group(1).split())) if body else b""
    if not spki.startswith(SPKI) or len(spki) != len(SPKI) + 32:
        raise ValueError(f"{path}: it is no public key of Ed25519")
    return hashlib.sha256(spki).hexdigest(), spki[len(SPKI):]


FORM = re.compile(rb'\{"(?:n":([1-9][0-9]{0,15}),|(batch|checkpoint|segment)":\{)')  # what every line of a record begins with
UNSIGNED_SECONDS = 120  # a checkpoint is written every minute where there is news


def no_constant(name):
    raise ValueError(f"{name} is no JSON")


def seconds(text):
    """A time such as 2026-01-31T12:00:00.000Z in seconds; None where it is none."""
    try:
        return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()
    except (ValueError, TypeError):
        return None


def read_anchors(path):
    found = []
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                checkpoint = json.loads(line[line.index("{"):])["checkpoint"]
                if isinstance(checkpoint["n"], int) and isinstance(checkpoint["hash"], str):
                    found.append(checkpoint)
            except (ValueError, KeyError, TypeError):
                continue  # a log that checkpoints go to may hold other things
    return found


class Record:
    """Goes through a record once, line by line, and notes what is not as it should be."""

    def __init__(self, keys, anchors):
        self.keys, self.anchors = keys, {one["hash"]: one for one in anchors}
        self.findings, self.anchored, self.dropped = [], {}, set()
        self.last_at = self.signed_at = None
        self.prev = self.first = self.segment = self.first_segment = self.signed_hash = None
        self.last = self.lines = self.signed_to = self.anchored_to = 0
        self.open, self.batch_from, self.is_open = b"", None, False
        self.place = ""

    def find(self, text):
        self.findings.append(f"{self.place}: {text}")

    def line(self, name, number, raw):
        self.place = f"{name}:{number}"
        segment = int(name[7:15])
        form = FORM.match(raw)
        try:
            value = json.loads(raw.decode("utf-8"), parse_constant=no_constant)
            kind = form.group(2).decode() if form.group(2) else "n"
            if not (value["n"] == int(form.group(1)) if kind == "n" else list(value) == [kind]):
                raise ValueError("it says two things")
        except (ValueError, AttributeError, KeyError):
            value, kind = {}, None
        if segment != self.segment:
            self.enter(segment, value.get("segment") if kind == "segment" else None)
        if not raw.endswith(b"\n"):
            return self.find("the line is cut off: it does not end")
        if kind == "batch":
            return self.end_batch(value["batch"])
        self.open += raw
        if kind != "checkpoint":
            self.is_open = True
        if kind == "checkpoint":
            self.checkpoint(value["checkpoint"])
        elif kind == "n":
            self.numbered(value)
        elif kind != "segment":
            self.find("the line is none of a record, or cannot be read")

    def enter(self, number, header):
        before, self.segment = self.segment, number
        if self.first_segment is None:
            self.first_segment = number
        if not isinstance(header, dict):
            return self.find("the file does not begin with what it goes on from")
        if header.get("number") != number:
            self.find("the file says that it has another number")
        if before is None:
            self.prev, self.last = header.get("prev"), header.get("n", 1) - 1
        elif number != before + 1:
            self.find(f"the files between number {before} and {number} are missing")
        elif header.get("prev") != self.prev:
            self.find("the file does not go on from the one before")

    def end_batch(self, batch):
        made = hashlib.sha256(f"{self.prev}\n".encode() + self.open).hexdigest()
        if batch.get("prev") != self.prev:
            self.find("the batch does not go on from the one before: lines are missing, or stand twice, or elsewhere")
        elif batch.get("hash") != made:
            self.find(f"lines {batch.get('from')} to {batch.get('to')}, or what stands between, were altered, removed or added")
        first = self.batch_from if self.batch_from is not None else self.last + 1
        if batch.get("from") != first or batch.get("to") != self.last:
            self.find("the batch names other lines than it has")
        self.prev, self.open, self.batch_from, self.is_open = batch.get("hash"), b"", None, False
        if self.prev in self.anchors:
            self.anchored[self.prev] = batch.get("to")

    def numbered(self, value):
        n = value["n"]
        if value.get("event") == "dropped":
            self.dropped.add(value.get("segment"))
        if value.get("event") == "key":
            self.follow(value)
        at = seconds(value.get("at"))
        if at is not None:
            self.last_at = at if self.last_at is None else max(self.last_at, at)
        if n != self.last + 1:
            self.find(f"line {n} follows line {self.last}: lines are missing, moved or doubled")
        self.lines += 1
        if self.first is None:
            self.first = n
        if self.batch_from is None:
            self.batch_from = n
        self.last = n

    def follow(self, value):
        """Another key signs from here on, by the word of one that is known."""
        key, by = value.get("key"), value.get("by")
        message = f"postern record key 1\n{by}\n{key}\n".encode()
        try:
            spki = base64.b64decode(key)
            if is_signed(self.keys[by], message, base64.b64decode(value.get("signature"))) and spki.startswith(SPKI):
                self.keys[hashlib.sha256(spki).hexdigest()] = spki[len(SPKI):]
                return
        except (ValueError, KeyError, TypeError):
            pass
        self.find("the key that follows is signed by no key of the record")

    def is_signed(self, said):
        n, value, at, key = (said.get(name) for name in ("n", "hash", "at", "key"))
        message = f"postern record checkpoint 1\n{n}\n{value}\n{at}\n".encode()
        try:
            return is_signed(self.keys[key], message, base64.b64decode(said.get("signature") or ""))
        except (ValueError, KeyError, TypeError):
            return False

    def checkpoint(self, said):
        n, value, key = (said.get(name) for name in ("n", "hash", "key"))
        if key not in self.keys:
            self.find("the checkpoint is by a key that its owner does not vouch for")
        elif not self.is_signed(said):
            self.find("the signature of the checkpoint is wrong")
        elif value != self.prev or n != self.last:
            self.find("the checkpoint is of other lines than those before it")
        elif value == self.signed_hash:
            self.find("the checkpoint stands twice")
        else:
            self.signed_to, self.signed_at = n, seconds(said.get("at"))
        self.signed_hash = value

    def end(self):
        self.place = "the record"
        if self.is_open:
            self.find("it ends within a batch: what follows its last batch is not proven")
        # Those before it were dropped by files that have been dropped themselves.
        if (self.first_segment or 1) > 1 and self.first_segment - 1 not in self.dropped:
            self.find("its first files are missing, and it does not say that it dropped them")
        if self.lines == 0:
            self.find("it has no line")
        elif self.signed_to == 0:
            self.find("no line of it is signed: it has no checkpoint that is in order")
        elif self.signed_at is None or (self.last_at or 0) - self.signed_at > UNSIGNED_SECONDS:
            self.find(f"lines {self.signed_to + 1} to {self.last} go on for over two minutes and no checkpoint signs them")
        for value, anchor in self.anchors.items():
            n, last = anchor["n"], self.anchored.get(value)
            if not self.is_signed(anchor):
                self.find(f"an anchor for line {n} is signed by no key of the record")
            elif last == n:
                self.anchored_to = max(self.anchored_to, n)
            elif last is not None or n >= (self.first or 0):
                self.find(f"an anchor covers line {n} by a batch that is not in it: it was cut off, or written anew")


def settled_end(directory, name):
    """Where a file ends, once its writer is not within a batch; what is within one for half a second was cut off."""
    for _ in range(20):
        with open(os.path.join(directory, name), "rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - 4096))
            if re.search(rb'(?:^|\n)\{"(?:batch|checkpoint)":\{[^\n]*\}\n\Z', file.read(min(end, 4096))):
                return end
        time.sleep(0.025)
    return end


def check_report(path, nonce, keys):
    """The findings on a report of `agent prove`, and its outcomes, one a line."""
    with open(path, encoding="utf-8") as file:
        signed = json.load(file)
    text, key = signed["report"], signed["key"]
    message = b"postern proof 1\n" + text.encode()
    if key not in keys:
        return ["the report is by a key that its owner does not vouch for"], []
    if not is_signed(keys[key], message, base64.b64decode(signed["signature"])):
        return ["the signature of the report is wrong"], []
    report = json.loads(text)
    findings = [] if report["nonce"] == nonce else [f"the report is for another nonce: {report['nonce']!r}"]
    outcomes = [f"{one['outcome']:<9}  {one['promise']}: {one['evidence']}" for one in report["experiments"]]
    findings += [f"a promise does not hold: {one['promise']}" for one in report["experiments"] if one["outcome"] == "FAIL"]
    return findings, [f"{report['identity']}, {report['program']}, at {report['at']}"] + outcomes


def main():
    parser = argparse.ArgumentParser(description="Verifies a record of Postern. Exit 0: whole, 1: not, 2: unreadable.")
    parser.add_argument("directory", nargs="?")
    parser.add_argument("--report", help="a report of agent prove, in place of a record")
    parser.add_argument("--nonce", default="", help="what was asked for with --nonce")
    parser.add_argument("--key", action="append", required=True, help="public key in PEM; may be given again")
    parser.add_argument("--anchor", action="append", default=[], help="file with checkpoints that were kept elsewhere")
    args = parser.parse_args()
    try:
        keys = dict(read_key(path) for path in args.key)
        if args.report:
            findings, outcomes = check_report(args.report, args.nonce, keys)
            print(*outcomes, *findings, "report       " + ("in order" if not findings else "NOT IN ORDER"), sep="\n")
            return 1 if findings else 0
        if not args.directory:
            parser.error("name the folder of a record, or --report")
        record = Record(keys, [one for path in args.anchor for one in read_anchors(path)])
        names = sorted(name for name in os.listdir(args.directory) if re.fullmatch(r"record-\d{8}\.jsonl", name))
        end = settled_end(args.directory, names[-1]) if names else 0
        for name in names:
            left = end if name == names[-1] else float("inf")
            with open(os.path.join(args.directory, name), "rb") as file:
                for number, raw in enumerate(file, 1):
                    left -= len(raw)
                    if left < 0:
                        break
                    record.line(name, number, raw)
        record.end()
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"unreadable: {error}", file=sys.stderr)
        return 2
    for finding in record.findings:
        print(finding)
    unproven = record.last - record.anchored_to
    print(f"lines        {record.lines}, {record.first or 0} to {record.last}")
    print(f"signed       to line {record.signed_to}")
    print(f"anchored     to line {record.anchored_to}; {unproven} lines are not proven by an anchor")
    print("record       " + ("whole" if not record.findings else f"NOT WHOLE: {len(record.findings)} findings"))
    return 1 if record.findings else 0


if __name__ == "__main__":
    sys.exit(main())
