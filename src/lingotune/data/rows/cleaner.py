"""From raw records to rows that a model can learn from, one at a time, and what is wrong with others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple
from unicodedata import is_normalized

from lingotune.config.problems import DATA_FAILED, ConfigError, Problem
from lingotune.config.schema import (
    AUTO,
    PATTERN_LANGUAGE,
    SPLITS,
    ColumnsConfig,
    DataConfig,
    OnError,
)
from lingotune.data.rows.columns import SeenColumns, usual_column
from lingotune.data.rows.findings import (
    SKIP,
    Findings,
    Located,
    OnReject,
    Record,
    Rejected,
    Unfit,
    shortened,
    show,
    skipping,
    split_location,
    written,
)
from lingotune.data.rows.ids import IdHashes
from lingotune.data.rows.label_sets import SEVERAL, LabelSets, Targets, class_columns
from lingotune.data.rows.labels import Labels, alone, is_no_label, is_placeholder
from lingotune.data.rows.language_tags import tags_of
from lingotune.data.rows.languages import Languages
from lingotune.data.rows.nested import column_names
from lingotune.data.rows.origins import Origins
from lingotune.data.rows.pairs import joined
from lingotune.data.rows.unicode import check_encodable, in_column, is_blank, to_nfc


class Row(NamedTuple):
    """A labelled text, or pair of texts, see `pairs`.

    label: class id, place in `data.labels`; `SEVERAL` where a text may have several. language: code, `und`
    where the source has none. id: from the id column, or file and line. stars: the rating after the offset;
    None where the source rates otherwise. group: what its rows have in common that stay in one split; None
    where no column says, or the row has no value there. targets: value of every class where a text may have
    several, or shares of them; else None. source: where it comes from, see `origins`; None if not known.
    """

    text: str
    label: int
    language: str
    id: str
    stars: int | None
    group: str | None = None
    targets: Targets | None = None
    source: str | None = None

    @property
    def classes(self) -> tuple[int, ...]:
        """Ids of its classes: one, unless it may have several."""
        if self.label != SEVERAL or self.targets is None:
            return (self.label,)
        return tuple(id for id, value in enumerate(self.targets) if value)


_new_row = tuple.__new__


class Texts:
    """Texts as a model is trained on them: with their titles, without what no tokenizer takes, in one
    Unicode form. Whatever labels texts later prepares them here too."""

    def __init__(self, columns: ColumnsConfig, *, normalize: bool) -> None:
        self._text_column, self._title_column = columns.text, columns.title
        self._pair_column = columns.text_pair
        self._normalize = normalize

    def of(self, record: Record) -> str:
        """The text of a record, or its pair of texts; Unfit if it has none that can be used."""
        column = self._text_column
        text = _text_in(record, column, "text")
        if self._title_column is not None and not is_blank(text):
            text = self._titled(record.get(self._title_column), text)
        text = self.prepared(text, column)
        return text if self._pair_column is None else joined(text, self._second(record))

    def prepared(self, text: str, column: str | None = None, kind: str = "text") -> str:
        """A text that stands alone, or in a column; Unfit, of this `kind`, if it cannot be used."""
        if is_blank(text):
            unseen = ", only characters that cannot be seen" if text.strip() else ""
            raise Unfit(f"empty-{kind}", "has no text" + in_column(column) + unseen)
        if "\0" in text:
            raise Unfit("nul-character", "has a NUL character" + in_column(column))
        if text.isascii():
            return text
        check_encodable(text, column)
        return text if not self._normalize or is_normalized("NFC", text) else to_nfc(text)

    def _second(self, record: Record) -> str:
        column = self._pair_column
        assert column is not None
        return self.prepared(_text_in(record, column, "text-pair"), column, "text-pair")

    def _titled(self, title: Any, text: str) -> str:
        if title is not None and not isinstance(title, str):
            what = f"has no text, but {show(title)}, in {self._title_column!r}"
            raise Unfit("title-not-text", what)
        return f"{title}\n{text}" if title and not is_blank(title) else text


def _text_in(record: Record, column: str, kind: str) -> str:
    text = record.get(column)
    if isinstance(text, str):
        return text
    if text is None:
        raise Unfit(f"empty-{kind}", f"has no text in {column!r}")
    raise Unfit(f"not-{kind}", f"has no text, but {show(text)}, in {column!r}")


class Cleaner:
    """Maps, filters and checks the records of one split; memory does not grow with them.

    data.on_error=skip: rows that are wrong go to `on_reject` and are counted; what is wrong with whole
    files, with the settings, or with more than `data.max_rejected` of the rows, is a problem.
    data.on_error=stop: every wrong row is one. Always read = kept + rejected + filtered (by language).
    Where there is an id column, the ids' hashes are kept: at most 24 bytes a row. In one that was found,
    not named, an id that repeats rejects no row, which is named by its place instead. labels: shared by
    the splits of a source, whose problems are then the same from each of them.
    """

    def __init__(
        self,
        data: DataConfig,
        split: str,
        *,
        on_reject: OnReject | None = None,
        labels: Labels | None = None,
    ) -> None:
        self.read = 0
        self.kept = 0
        self.filtered = 0
        self.rejected: Counter[str] = Counter()
        columns = data.columns
        self._text = Texts(columns, normalize=data.normalize).of
        self._stars_column, self._label_column = columns.stars, columns.label or ""
        self._finds_id = columns.id == AUTO
        self._id_column = None if self._finds_id else columns.id
        self._group_column = columns.group
        self._origins = Origins(data)
        self._split = split
        self._skip = data.on_error is OnError.skip
        self._max_rejected = data.max_rejected
        self._on_reject = on_reject
        self._shares_labels = labels is not None
        self._labels = labels or Labels(data)
        classes = class_columns(data)
        self._sets = None if classes is None else LabelSets(data, self._labels)
        self._languages = Languages(data)
        trained = tags_of(data.train_languages) if split == SPLITS[0] else []
        self._needed = trained or None  # the others need no row to train on
        self._ids = IdHashes()
        self._seen = SeenColumns(columns, classes)
        self._at = ""
        self._placeholders: Counter[str] = Counter()
        self._found = Findings(_MEND if self._skip else SKIP)
        self._repeated = Findings()
        self._raised: list[Problem] = []
        self._unread = 0

    @property
    def on_fault(self) -> OnReject | None:
        """Return the callback by which readers skip the rows that they cannot read."""
        return self._reject_unread if self._skip else None

    def rows(self, records: Iterable[Located]) -> Iterator[Row]:
        """The good rows in their order; `problems` has to be asked for, once they are read."""
        seen, languages = self._seen, self._languages
        try:
            for location, record in records:
                self.read += 1
                names = tuple(record)
                if names != seen.names:
                    seen.change(self._at, location, names, tuple(column_names(record)))
                    if self._finds_id:
                        self._id_column = usual_column("id", names)
                    self._origins.look(names)
                self._at = location
                try:
                    language = languages.read(record)
                    row = self._row(location, record, language.code) if language.wanted else None
                except Unfit as fault:
                    self._reject(location, record, fault)
                    continue
                if row is not None:
                    self.kept += 1
                    yield row
                else:
                    self.filtered += 1
        except ConfigError as error:
            self._raised += error.problems
            self._unread = sum(problem.rows for problem in error.problems)
        self._ids = IdHashes()  # the others of the source wait for the last to be read
        self._labels.rejected_share = max(self._labels.rejected_share, self._share())

    # --- one record -----------------------------------------------------------------------------

    def _row(self, location: str, record: Record, language: str) -> Row:
        if self._sets is not None:
            return self._row_of_sets(self._sets, location, record, language)
        stars_column, column = self._stars_column, self._label_column
        if stars_column is not None and column not in record:
            column = stars_column
        value = record.get(column)
        labelled = self._labels.read(value, column, location)
        text = self._text(record)
        if labelled is None:
            if is_placeholder(value):
                self._placeholders[repr(value)] += 1
            raise _unlabelled(value, column)
        group = None if self._group_column is None else self._group(record, self._group_column)
        name = self._id(location, record)
        stars = labelled[1] if column is stars_column else None
        source = self._origins.of(location, record)
        # Twice as fast as Row(...).
        return _new_row(Row, (text, labelled[0], language, name, stars, group, None, source))

    def _row_of_sets(self, sets: LabelSets, location: str, record: Record, language: str) -> Row:
        targets = sets.read(record, location)
        text = self._text(record)
        group = None if self._group_column is None else self._group(record, self._group_column)
        name = self._id(location, record)
        source = self._origins.of(location, record)
        return Row(text, sets.label(targets), language, name, None, group, targets, source)

    def _group(self, record: Record, column: str) -> str | None:
        value = record.get(column)
        if value is None or value != value:  # pandas writes NaN for nothing
            return None
        name = str(value).strip()
        if not name.isascii():
            check_encodable(name, column)
        return name or None

    def _id(self, location: str, record: Record) -> str:
        column = self._id_column
        value = record.get(column) if column is not None else None
        if value is None or value == "":
            return _place(location)
        if self._finds_id and not isinstance(value, (str, int)):
            return _place(location)
        name = str(value)
        if not name.isascii():
            check_encodable(name, column)
        if not self._ids.add(name):
            what = f"has the id {show(value)} of an earlier row"
            if self._finds_id:
                self._repeated.note("duplicate-id", location, what)
                return _place(location)
            if self._skip:
                raise Unfit("duplicate-id", what, "ids that differ, or data.columns.id=null")
            self._repeated.note("duplicate-id", location, what)
        return name

    # --- what is wrong --------------------------------------------------------------------------

    def _reject(self, location: str, record: Record, fault: Unfit) -> None:
        self.rejected[fault.reason] += 1
        if not fault.noted:
            self._found.note(fault.reason, location, fault.what, fault.fix)
        if not self._skip:
            return
        self._seen.note_lack(location, record)
        if self._on_reject is not None:
            given = {name: value for name, value in record.items() if name != PATTERN_LANGUAGE}
            raw = shortened(written(given))
            what = shortened(fault.what)
            self._on_reject(Rejected(location, fault.reason, what, raw, fault.fix))

    def _reject_unread(self, rejected: Rejected) -> None:
        self.read += 1
        self.rejected[rejected.reason] += 1
        self._found.note(rejected.reason, rejected.location, rejected.message, rejected.fix)
        if self._on_reject is not None:
            self._on_reject(rejected)

    def problems(self) -> list[Problem]:
        """Everything wrong, once all is read; what follows from a missing column is left out."""
        missing = self._missing()
        absent = {problem.key.rpartition(".")[2] for problem in missing}
        if "header" in absent:  # no name of a column is known
            absent |= {*_FOLLOWS, "label"}
        labelled = not absent & {"stars", "label", "labels", "columns"}
        shifted = self._labels.shift_problems() if labelled else []
        problems = self._raised + missing
        if not self._skip or (self._passed_limit() and not missing and not shifted):
            problems += self._limit_problems()
            follows = [reason for name in absent for reason in _FOLLOWS.get(name, ())]
            problems += self._found.without([*follows, "no-label"])
            problems += self._no_label_problems() if labelled else []
            problems += self._labels.problems() if labelled else []
        else:
            problems += shifted
        if self._seen.names is not None and "language" not in absent:
            problems += self._languages.problems(self._seen.all(), self._needed)
        if not problems and not self.kept:
            problems.append(
                Problem(
                    f"data.{self._split}", f"no rows were read for {self._split}", code=DATA_FAILED
                )
            )
        return problems if self._skip else [*map(self._skipped_whole, problems)]

    def _skipped_whole(self, problem: Problem) -> Problem:
        """Let a fix that skips rows raise the limit where they are more."""
        options = problem.fix.split(", or ")
        if SKIP not in options:
            return problem
        skip = skipping(self._labels.rejected_share, self._max_rejected)
        left = [skip if option == SKIP else option for option in options]
        return replace(problem, fix=", or ".join(filter(None, left)) or _MEND)

    def is_unlabelled(self) -> bool:
        """Tell whether no row has a label: the column is missing, empty, or -1 throughout."""
        lacking = self.rejected["no-label"] + self._placeholders.total()
        others = self.rejected["unknown-label"] - self._placeholders.total()
        return lacking > 0 and not self.kept and others == 0

    @property
    def file(self) -> str:
        """Return the file of the last row."""
        return split_location(self._at)[0]

    def unlabelled_problems(self, where: str, fix: str) -> list[Problem]:
        """Return the problems of an input that cannot be scored, in place of those of its rows."""
        for value, count in self._placeholders.items():
            self._labels.forget(value, count)
        what = "has no labels, so nothing can be scored on it"
        return [Problem(where, what, fix, code=DATA_FAILED)]

    def _no_label_problems(self) -> list[Problem]:
        others = [kind for kind in self._found.kinds if kind != "no-label"]
        fix = self._labels.leaving_out() or "fill the values in"
        return [replace(problem, fix=fix) for problem in self._found.without(others)]

    def _missing(self) -> list[Problem]:
        if self._seen.names is None:
            return []
        missing = self._seen.missing()
        return missing or (self._seen.missing_in_files() if self._skip else [])

    def _share(self) -> float:
        return (sum(self.rejected.values()) + self._unread) / max(1, self.read + self._unread)

    def _passed_limit(self) -> bool:
        return self._skip and self._share() > self._max_rejected

    def _limit_problems(self) -> Iterator[Problem]:
        if not self._passed_limit():
            return
        share = self._share()
        limit = skipping(share, self._max_rejected).removeprefix(SKIP).strip()
        fix = f"{limit}, or {_MEND}" if limit else _MEND
        what = f"{self._count_rejected()} of the {self.read} read for {self._split}: {share:.2%}"
        yield Problem(f"data.max_rejected={self._max_rejected:g}", what, fix, code=DATA_FAILED)

    def _count_rejected(self) -> str:
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.rejected.most_common())
        total = sum(self.rejected.values())
        return f"{total} {'row is' if total == 1 else 'rows are'} rejected ({reasons})"

    def warnings(self) -> list[str]:
        """List what is odd, but no problem."""
        warnings = [] if self._shares_labels else self._labels.warnings()
        warnings += self._languages.warnings()
        if self._skip and self.rejected:
            warnings.append(f"{self._count_rejected()} of the {self.read} read")
        repeated = [problem.where for problem in self._repeated.problems()]
        return warnings + [f"the same id as an earlier row: {where}" for where in repeated]


def _place(location: str) -> str:
    """Name a row by its file and line: the file's folder differs between laptop and worker."""
    place = location[location.rfind("/") + 1 :]
    return place if place.isascii() else shortened(place)


_MEND = "mend these rows"
_FOLLOWS = {
    "text": ("empty-text",),
    "text_pair": ("empty-text-pair",),
    "language": ("no-language",),
    "title": ("title-not-text",),
}
"""Setting whose column is missing -> reasons of rows that follow from it."""


def _unlabelled(raw: Any, column: str | None) -> Unfit:
    value = alone(raw)
    if is_no_label(value):
        return Unfit("no-label", f"has no value in {column!r}")
    if isinstance(value, (list, tuple)):
        return Unfit(
            "several-labels", f"has several classes in {column!r}: {show(value)}", noted=True
        )
    what = f"value {show(value)} in {column!r} is not in data.labels"
    return Unfit("unknown-label", what, noted=True)
