"""Logical fields read the slow and obvious way, to hold the fast way against.

Nothing is prepared, remembered or skipped: each value is looked for from the message's own text.
"""

from collections.abc import Iterator
from itertools import takewhile

from hilum.hl7.datatypes import PARTS, plausible
from hilum.hl7.escapes import Delimiters, unescape
from hilum.hl7.extraction import FieldRule, ListRule, Value
from hilum.hl7.fieldpath import FieldPath
from hilum.hl7.paths import Structure

Line = str
HEADERS = ("MSH", "FHS", "BHS")


class SlowMessage:
    """The text of a message, decoded, with its delimiters."""

    def __init__(self, text: str, delimiters: Delimiters, codec: str) -> None:
        self.lines = [line for line in text.split("\r") if line[:3].strip()]
        self.delimiters = delimiters
        self.codec = codec

    def rows(self, structure: Structure) -> list[dict[str, Value]]:
        """The values of each group."""
        return [self._values(structure, lines) for lines in self._groups(structure)]

    def _groups(self, structure: Structure) -> Iterator[list[Line]]:
        """The lines that each group sees. A group is an anchor that no deeper one follows, with those above it."""
        if not structure.groups:
            yield self.lines
            return
        lines = self._without_earlier_results(structure)
        rank = {name: level for level, name in enumerate(structure.anchors)}
        anchors = [number for number, line in enumerate(lines) if line[:3] in rank]
        blocks = [0] + [number for number, line in enumerate(lines) if line[:3] == "PID" and "PID" not in rank]
        for at, anchor in enumerate(anchors):
            block = max(start for start in blocks if start <= anchor)
            level = rank[lines[anchor][:3]]
            after = anchors[at + 1] if at + 1 < len(anchors) else len(lines)
            block_end = min([start for start in blocks if start > anchor], default=len(lines))
            if after < block_end and rank[lines[after][:3]] > level:
                continue  # the deeper one is the group, or leads to it
            chain, above = [anchor], level
            shared = anchors[:at] if len(structure.groups) == len(structure.anchors) else anchors[max(at - 1, 0) : at]
            for earlier in reversed([number for number in shared if number >= block]):
                if rank[lines[earlier][:3]] < above:
                    chain.insert(0, earlier)
                    above = rank[lines[earlier][:3]]
            own = [line for number in chain for line in self._with_followers(lines, number, anchors, blocks)]
            yield own + self._before(lines, own, block, anchors, blocks)

    def _without_earlier_results(self, structure: Structure) -> list[Line]:
        first = min([n for n, line in enumerate(self.lines) if line[:3] in structure.anchors], default=len(self.lines))
        kept, block = self.lines[: first + 1], list[Line]()  # of the earlier results that are being read
        for number, line in enumerate(self.lines[first + 1 :], first + 1):
            if (line[:3] in structure.prior) or (block and not self._begins_an_order(number, block, structure)):
                block.append(line)
            else:
                block = []
                kept.append(line)
        return kept

    def _begins_an_order(self, number: int, block: list[Line], structure: Structure) -> bool:
        names = [line[:3] for line in block]
        if self.lines[number][:3] != "ORC" or names[-1] in structure.prior:
            return False
        heads = [at for at, name in enumerate(names) if name in structure.prior]
        behind = [next((at for at in range(head, len(names)) if names[at] in structure.anchors), 0) for head in heads]
        firsts = {at for at in behind if names[at] == "ORC"}
        start = number - len(block)
        if any(self._says_order(start + at, structure) for at in firsts):
            return False  # these have an order's ORC-1, too
        after_head = all(name not in structure.anchors for name in names[heads[-1] :])
        return not after_head and self._says_order(number, structure)

    def _says_order(self, number: int, structure: Structure) -> bool:
        control = self._part(self._text(self.lines[number], 1), 1, 1, whole=True).strip()
        ends = ("ORC", *structure.prior)
        own = list(takewhile(lambda line: line[:3] not in ends, self.lines[number + 1 :]))
        return control != "RE" if control else all(line[:3] != "OBX" for line in own)

    def _with_followers(self, lines: list[Line], anchor: int, anchors: list[int], blocks: list[int]) -> list[Line]:
        end = min([number for number in (*anchors, *blocks) if number > anchor], default=len(lines))
        return lines[anchor:end]

    def _before(
        self, lines: list[Line], own: list[Line], block: int, anchors: list[int], blocks: list[int]
    ) -> list[Line]:
        """Header, patient and lone Z segments, without those of names that the group has itself."""
        header_end = min([*blocks[1:], *anchors])
        first = min(number for number in anchors if number >= block)
        before = lines[:header_end] + (lines[block:first] if block else [])
        for line in self.lines:
            if line[0] == "Z" and sum(other[:3] == line[:3] for other in self.lines) == 1 and line not in before:
                before.append(line)
        names = {line[:3] for line in own} | {"OBX"}
        return [line for line in before if line[:3] not in names]

    def _values(self, structure: Structure, lines: list[Line]) -> dict[str, Value]:
        values: dict[str, Value] = {}
        for rule in structure.fields.values():
            if isinstance(rule, ListRule):
                if found := self._list(rule, lines):
                    values[rule.name] = found
            else:
                values.update(self._field(rule, lines))
        return values

    def _field(self, rule: FieldRule, lines: list[Line]) -> dict[str, str]:
        for path in rule.places:
            chosen = self._segments(path, lines)[:1]
            text = self._text(chosen[0], path.field) if chosen else ""
            if rule.type == "TX":
                texts = [self._unescaped(line) for line in text.split(self.delimiters.repetition)]
                found = {rule.name: "\n".join(texts)} if text else {}
            else:
                repetitions = self._repetitions(path, text)
                index = path.repetition.index or 0
                found = self._parts(rule.name, rule.type, path, "".join(repetitions[index : index + 1]))
                if rule.type == "UI" and not all(plausible("UI", value) for value in found.values()):
                    found = {}
            if found:
                return found
        return {}

    def _list(self, rule: ListRule, lines: list[Line]) -> list[dict[str, str]]:
        if rule.segment:
            rows = [[self._field(field, [line]) for field in rule.fields] for line in lines if line[:3] == rule.segment]
            merged = [{name: value for found in row for name, value in found.items()} for row in rows]
            return [row for row in merged if row]
        for path in rule.places:
            texts = [
                repetition
                for line in self._segments(path, lines)
                for repetition in self._repetitions(path, self._text(line, path.field))
            ]
            found = [self._parts("", rule.type, path, text) for text in texts]
            named = [{key.removeprefix(".") or "value": value for key, value in row.items()} for row in found if row]
            if named:
                return named
        return []

    def _segments(self, path: FieldPath, lines: list[Line]) -> list[Line]:
        named = [line for line in lines if line[:3] == path.segment]
        where = path.occurrence
        if where.first:
            met = (self._part(self._text(line, where.first), where.first, where.second, whole=True) for line in named)
            return [line for line, value in zip(named, met, strict=True) if value == where.value][:1]
        return named if where.index is None else named[where.index : where.index + 1]

    def _text(self, line: Line, number: int) -> str:
        fields = line.split(self.delimiters.field)
        if line[:3] in HEADERS:
            fields.insert(1, self.delimiters.field)
        return fields[number] if number < len(fields) else ""

    def _repetitions(self, path: FieldPath, text: str) -> list[str]:
        texts = text.split(self.delimiters.repetition) if text else []
        where = path.repetition
        if not where.first:
            return texts
        return [one for one in texts if self._part(one, where.first, where.second) == where.value][:1]

    def _part(self, text: str, component: int, subcomponent: int, *, whole: bool = False) -> str:
        """A component's subcomponent, as it came; with ``whole``, of a field: its first repetition's."""
        if whole:
            text, component = text.split(self.delimiters.repetition, maxsplit=1)[0], subcomponent
            subcomponent = 1
        components = text.split(self.delimiters.component)
        value = components[component - 1] if component <= len(components) else ""
        pieces = value.split(self.delimiters.subcomponent) if self.delimiters.subcomponent else [value]
        return pieces[subcomponent - 1] if subcomponent <= len(pieces) else ""

    def _parts(self, name: str, data_type: str, path: FieldPath, text: str) -> dict[str, str]:
        found = {}
        for suffix, ahead, subcomponent in PARTS[data_type]:
            part = self._part(text, (path.component or 1) + ahead, subcomponent or path.subcomponent or 1)
            if value := self._unescaped(part):
                found[name + suffix] = value
        return found

    def _unescaped(self, text: str) -> str:
        return unescape(text, self.delimiters, self.codec)
